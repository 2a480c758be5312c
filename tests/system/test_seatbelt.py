"""The macOS profile as text: what it allows and denies, and that no path breaks out of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import SandboxError
from autoresearch.system.sandbox import Seatbelt
from autoresearch.system.seatbelt import quoted, seatbelt_profile


def test_the_seatbelt_profile_says_what_the_design_asks(tmp_path: Path) -> None:
    profile = seatbelt_profile([Path("/night/7")], hide=[Path("/night"), Path("/data/eval")], read=[Path("/data")])
    assert profile.startswith("(version 1)\n(allow default)\n(deny network*)\n(deny appleevent-send)\n")
    rules = profile.splitlines()
    order = [
        "(deny file-write*)",
        '(allow file-write* (literal "/dev/null"))',
        "(allow file-write-data",
        '(allow file-read* (subpath "/data"))',
        '(deny file-write* (subpath "/data"))',
        '(deny file-read-data file-read-xattr file-write* (subpath "/night"))',
        '(deny file-read-data file-read-xattr file-write* (subpath "/data/eval"))',
        '(allow file-read* file-write* (subpath "/night/7"))',
    ]
    assert [rules.index(rule) for rule in order] == sorted(rules.index(rule) for rule in order)
    assert '(deny file-read-data (regex #"^/dev/tty"))' in rules  # what is typed in other terminals
    assert {"(deny process-fork)", "(deny signal)", "(deny sysctl-write)", "(deny lsopen)"} <= set(rules)
    assert '(deny mach-lookup\n  (global-name "com.apple.SecurityServer")' in profile  # the keychain


def test_the_seatbelt_prefix_hides_secrets(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = ("Library/Keychains", ".ssh", ".codex", ".a-tool-of-tomorrow", "Library/Application Support/Google")
    for name in (*hidden, "Library/Fonts"):
        (run_dir / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(run_dir))
    program, flag, profile = Seatbelt().prefix([run_dir / "tmp"], read=[run_dir / ".ssh" / "read"])
    assert (program, flag) == ("/usr/bin/sandbox-exec", "-p")
    rules = profile.splitlines()
    for name in hidden:
        path = quoted(os.path.realpath(run_dir / name))
        assert f"(deny file-read-data file-read-xattr file-write* (subpath {path}))" in rules
    assert "Library/Fonts" not in profile
    at = [next(i for i, rule in enumerate(rules) if name in rule) for name in ("/.ssh", "/.ssh/read")]
    assert at[0] < at[1] and rules[at[1]].startswith("(allow file-read*"), "the more specific rule comes later"
    assert any(f'(allow file-read* (subpath "{os.path.realpath(sys.prefix)}' in rule for rule in rules)


def balanced(profile: str) -> bool:
    """Return whether the profile language finds every parenthesis outside of strings closed."""
    depth, at = 0, 0
    while at < len(profile):
        if profile[at] == '"':
            raw = profile[at - 1] == "#"  # a regular expression, where a backslash stands for itself
            at += 1
            while profile[at] != '"':
                at += 2 if profile[at] == "\\" and not raw else 1
        depth += {"(": 1, ")": -1}.get(profile[at], 0)
        assert depth >= 0
        at += 1
    return depth == 0


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=30))
def test_no_folder_name_breaks_out_of_the_profile(name: str) -> None:
    profile = seatbelt_profile([Path("/night") / name], hide=[Path("/night")])
    assert balanced(profile)
    assert profile.count("(subpath") == 2 or os.path.realpath(f"/night/{name}") in ("/", "/night")


def test_a_control_character_is_refused() -> None:
    with pytest.raises(SandboxError, match="rename"):
        quoted("/a\nb")
    assert quoted('/a "b"\\c') == '"/a \\"b\\"\\\\c"'


def test_a_declared_task_may_start_processes_and_reach_what_it_declares() -> None:
    plain = seatbelt_profile([Path("/run")], [])
    assert plain.count("process-fork") == 1 and "(allow network" not in plain
    local = seatbelt_profile([Path("/run")], [], network="local", forks=True)
    assert local.index("(allow process-fork)") > local.index("(deny process-fork)")
    assert '(remote ip "localhost:*")' in local and "(allow network*)" not in local
    assert "(allow network*)" in seatbelt_profile([Path("/run")], [], network="open")
