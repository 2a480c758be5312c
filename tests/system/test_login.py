"""The login item that resumes a night: its files, and its command really run with the environment that it asks for."""

from __future__ import annotations

import json
import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import UsageError
from autoresearch.paths import resume_log
from autoresearch.system import login
from testbed.toy import ROOT

LOOP = """
import json, os, shutil, sys
said = {"argv": sys.argv[1:], "cwd": os.getcwd(), "git": shutil.which("git"), "env": dict(os.environ)}
print(json.dumps(said))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout 100% of $HOME"
    root.mkdir()
    (root / "loop.py").write_text(LOOP)
    return root


def command(root: Path, *args: str) -> list[str]:
    return [sys.executable, str(root / "loop.py"), "run", *args]


def launch(plist: dict[str, Any]) -> int:
    """Run a job as launchd would, see launchd.plist(5)."""
    with Path(plist["StandardOutPath"]).open("ab") as out:
        return subprocess.run(
            plist["ProgramArguments"],
            cwd=plist["WorkingDirectory"],
            env=plist["EnvironmentVariables"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=60,
        ).returncode


def test_the_generated_command_runs_with_the_generated_environment(checkout: Path, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:relative:/no/such/folder:/bin", "AUTORESEARCH_CACHE": "/data/c", "HF_TOKEN": "secret"}
    login.install(checkout, command(checkout, "--tag", "nov 23"), home=tmp_path, env=env, system="Darwin")
    (path,) = (tmp_path / "Library" / "LaunchAgents").iterdir()
    plist = plistlib.loads(path.read_bytes())
    assert path.stem == plist["Label"] and plist["RunAtLoad"] is True and plist["KeepAlive"] is False
    assert launch(plist) == 0
    said = json.loads((resume_log(checkout)).read_text())
    assert said["argv"] == ["run", "--tag", "nov 23"] and said["cwd"] == str(checkout)
    assert said["git"] is not None and said["env"]["AUTORESEARCH_CACHE"] == "/data/c"
    assert "HF_TOKEN" not in said["env"]
    folders = said["env"]["PATH"].split(":")
    assert folders[0] == str(Path(sys.executable).parent) and "/opt/homebrew/bin" in folders
    assert "relative" not in folders and "/no/such/folder" not in folders


def test_the_real_loop_starts_with_a_login_s_environment(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "loop.py"), "--help"]
    plist = plistlib.loads(login.plist(ROOT, argv, {"PATH": "/usr/bin"}))
    plist["StandardOutPath"] = str(tmp_path / "log")
    assert launch(plist) == 0
    assert "loop.py status" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("system", ["Darwin", "Linux"])
def test_installing_twice_is_installing_once_and_uninstalling_leaves_nothing(
    checkout: Path, tmp_path: Path, system: str
) -> None:
    home = tmp_path / "home"
    assert login.installed(checkout, home=home, system=system) is None
    login.install(checkout, command(checkout, "--tag", "first"), home=home, system=system)
    login.install(checkout, command(checkout, "--tag", "second"), home=home, system=system)
    path = login.installed(checkout, home=home, system=system)
    assert path is not None
    assert [p for p in home.rglob("*") if p.is_file() and not p.is_symlink()] == [path]
    assert "second" in path.read_text() and "first" not in path.read_text()
    assert path.stat().st_mode & 0o022 == 0  # launchd refuses a file that others may write
    assert "removed" in login.uninstall(checkout, home=home, system=system)[0]
    assert [p for p in home.rglob("*") if not p.is_dir()] == []
    assert "nothing was installed" in login.uninstall(checkout, home=home, system=system)[0]


def test_every_checkout_has_a_login_item_of_its_own(tmp_path: Path) -> None:
    first, second = (login.login_item(tmp_path / name, ["true"], system="Darwin").path for name in ("a", "b"))
    assert first != second and first == login.login_item(tmp_path / "a", ["other"], system="Darwin").path


def test_a_folder_of_the_path_that_may_not_be_entered_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "locked" / "bin").mkdir(parents=True)
    (tmp_path / "locked").chmod(0)
    found = login.environment([], {"PATH": f"{tmp_path}/locked/bin:/usr/bin"})["PATH"].split(":")
    (tmp_path / "locked").chmod(0o700)
    assert "/usr/bin" in found and (f"{tmp_path}/locked/bin" in found) == (os.geteuid() == 0)


def test_elsewhere_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="launchd"):
        login.install(tmp_path, ["true"], home=tmp_path, system="Windows")


# --- systemd ---


def words_of(line: str) -> list[str]:
    """Split a command line as systemd.service(5) does: C escapes in quotes, %% and $$ for % and $."""
    quoted = re.findall(r'"((?:\\.|[^"\\])*)"', line, re.DOTALL)
    plain = [re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], word) for word in quoted]
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")), min_size=1, max_size=4))
def test_a_unit_s_command_line_reads_back_as_the_same_words(words: list[str]) -> None:
    (line,) = [x for x in login.unit(ROOT, words, {}).decode().split("\n") if x.startswith("ExecStart=")]
    assert words_of(line) == words


def test_the_unit_is_enabled_as_systemctl_would(checkout: Path, tmp_path: Path) -> None:
    login.install(checkout, command(checkout), home=tmp_path, env={}, system="Linux")
    folder = tmp_path / ".config" / "systemd" / "user"
    (link,) = (folder / "default.target.wants").iterdir()
    assert link.resolve() == login.installed(checkout, home=tmp_path, system="Linux")
    assert link.name == f"{login.label_of(checkout)}.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_unit(checkout: Path, tmp_path: Path) -> None:
    login.install(checkout, command(checkout, "$x", '100%"'), home=tmp_path, env={"LANG": "C"}, system="Linux")
    path = login.installed(checkout, home=tmp_path, system="Linux")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=60,
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if path is not None and path.name in line]
    assert complaints == []


def test_a_cache_by_a_short_name_is_the_same_at_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/cache", "$HOME/cache", "cache", f"'{tmp_path}/cache'"):
        env = login.environment([], {"AUTORESEARCH_CACHE": text, "OPENAI_API_KEY": "secret", "HF_TOKEN": "secret"})
        assert env["AUTORESEARCH_CACHE"] == str(tmp_path / "cache") and "secret" not in env.values()
