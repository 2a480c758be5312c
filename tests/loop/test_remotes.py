"""Findings from the hub and from git repositories, and pull requests on the hub, on good and bad days."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.errors import BundleError, UsageError
from autoresearch.findings import bundle
from autoresearch.loop import remotes
from testbed.bundles import DATA, changed, finding
from testbed.fake_hub import FakeHub
from testbed.night_builder import A, B
from testbed.toy import ROOT

REPO = "people/findings"
GOOD, OTHER = bundle.dump(A), bundle.dump(B)
HOSTILE = {
    "empty": (b"", "not readable as JSON"),
    "list": (b"[1, 2]", "not a file of findings"),
    "torn": (DATA[:-100], "not readable as JSON"),
    "nested": (b"[" * 100_000, "not readable as JSON"),
    "nan": (changed(hours=math.nan), "NaN is not JSON"),
    "newer": (changed(version=3), "Update this program"),
    "figure": (DATA.replace(b'"sigma_df": 2.0', b'"sigma_df": 20.0'), "changed since it was written"),
    "field": (changed(command="rm -rf ~"), "this field is unknown"),
    "escapes": (finding(1, title="\x1b]0;owned\x07"), "is not allowed"),
    "backwards": (finding(1, title="a\u202egpj.exe"), "is not allowed"),
    "constant": (finding(1, change={"set": {"__import__('os')": "1"}}), "should match pattern"),
    "source": (changed(sources={"0" * 64: "import os"}), "source"),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("AUTORESEARCH_FINDINGS", raising=False)
        yield server


def pulled(name: str) -> tuple[list[str], list[str]]:
    """Return the ids of the nights that came, and what was said."""
    said: list[str] = []
    return [night.id for night in remotes.pull(remotes.source_of(name), said.append)], said


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hub:people/findings", "hub:people/findings"),
        ("people/findings", "hub:people/findings"),
        ("git+https://host/a/b.git", "git+https://host/a/b.git"),
        ("git+https://me:secret@host/a.git", "git+https://host/a.git"),
        ("git+git@host:a/b.git", "git+git@host:a/b.git"),
        ("git+/srv/findings", "git+/srv/findings"),
    ],
)
def test_places(text: str, shown: str) -> None:
    assert str(remotes.source_of(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("hub:", "hub:people", "hub:a/b/c", "hub:../etc", "hub:a/..", "hub:a b/c", "hub:-a/b", "hub:a/b\n"),
        *("git+", "git+--upload-pack=touch x", "git+ext::sh -c id", "git+ftp://host/a", "git+https://a b"),
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError, match=r"hub|git"):
        remotes.source_of(text)


def test_there_is_no_default_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTORESEARCH_FINDINGS", raising=False)
    for name in (None, "hub"):
        with pytest.raises(UsageError, match=r"name the dataset repository.*AUTORESEARCH_FINDINGS"):
            remotes.source_of(name)
    monkeypatch.setenv("AUTORESEARCH_FINDINGS", "people/findings")
    assert str(remotes.source_of("hub")) == "hub:people/findings"


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nights_come_from_the_hub_and_later_from_the_cache(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put(REPO, **{"findings/a": GOOD, "b": OTHER, "deep/er/c": GOOD})
    hub.files[REPO]["train.py"] = b"import os"
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    hub.knows_no_token = True  # downloads are anonymous
    nights, said = pulled("hub:people/findings")
    assert sorted(nights) == sorted([A.id, B.id]) and said == []
    assert sorted(name for name, _ in hub.transfers) == ["b.json", "findings/a.json"]
    assert pulled("hub:people/findings") == (nights, []) and len(hub.transfers) == 2
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again, (told,) = pulled("hub:people/findings")
    assert again == nights and told.endswith("HF_HUB_OFFLINE is set; the cached copy is used")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.put(REPO, a=OTHER)
    assert pulled("hub:people/findings") == ([B.id], [])
    hub.portal = True
    again, (told,) = pulled("hub:people/findings")
    assert again == [B.id] and "does not answer" in told and hub.endpoint in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x\x1b[2J", "..", "a\nb", "..\\..\\x", "\u202ea"])
def test_odd_names_are_not_even_asked_for(hub: FakeHub, name: str) -> None:
    hub.put(REPO, good=GOOD, **{name: OTHER})
    nights, (said,) = pulled("hub:people/findings")
    assert nights == [A.id] and said.startswith("left out: ") and said.isprintable()
    assert [name for name, _ in hub.transfers] == ["good.json"]


@pytest.mark.slow
def test_what_is_too_large_is_not_even_asked_for(hub: FakeHub) -> None:
    hub.put(REPO, good=GOOD, huge=bytes(bundle.MOST_FILE_BYTES + 2**20))
    nights, (said,) = pulled("hub:people/findings")
    assert nights == [A.id] and said == "left out: huge.json: 65 MB, and more than is fetched from one repository"


def test_hostile_files_are_left_out_by_name(hub: FakeHub) -> None:
    hub.put(REPO, good=GOOD, **{name: data for name, (data, _) in HOSTILE.items()})
    nights, said = pulled("hub:people/findings")
    assert nights == [A.id] and len(said) == len(HOSTILE) == 12
    for line, (name, (_, reason)) in zip(said, sorted(HOSTILE.items()), strict=True):
        assert line.startswith(f"left out: {name}.json: refused: ") and reason in line and line.isprintable()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"the hub \(HF_ENDPOINT=.*\) shows no dataset repository people/findings. Nothing of it is in the cache"),
        ({REPO: {"README.md": b"# Findings"}}, r"holds no findings \(\*\.json"),
    ],
)
def test_what_the_hub_does_not_have(hub: FakeHub, files: dict[str, dict[str, bytes]], said: str) -> None:
    hub.files = files
    with pytest.raises(BundleError, match=said):
        pulled("hub:people/findings")


# --- git --------------------------------------------------------------------------------------------------------------


def git(folder: Path, *args: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / f"{name}.json").write_bytes(data)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "findings")


def test_nights_come_from_a_git_repository_and_later_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    there = tmp_path / "there"
    (there / "findings").mkdir(parents=True)
    git(there, "init", "-q")
    (tmp_path / "secret.json").write_bytes(OTHER)
    (there / "link.json").symlink_to(tmp_path / "secret.json")
    (there / "endless.json").symlink_to("/dev/zero")
    commit(there, **{"findings/a": GOOD, "od\x1b[31md": b"{}"})
    name = f"git+file://{there}"
    nights, said = pulled(name)
    assert nights == [A.id]  # no link is followed
    assert [line.split(": ")[1] for line in said] == ["endless.json", "link.json", "od?[31md.json"]
    (there / "link.json").unlink()
    commit(there, **{"findings/a": OTHER})
    assert pulled(name)[0] == [B.id]
    there.rename(tmp_path / "gone")
    again, (told, *_) = pulled(name)
    assert again == [B.id] and "cannot be fetched: fatal: " in told and told.endswith("the cached copy is used")
    with pytest.raises(BundleError, match=r"cannot be fetched: fatal: .*Nothing of it is in the cache"):
        pulled(f"git+{tmp_path}/nowhere")


# --- pull requests ----------------------------------------------------------------------------------------------------


def test_a_pull_request_is_opened_with_the_persons_login(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(REPO, a=GOOD)
    hub.writers = {"hf_mine"}
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    (tmp_path / "night.json").write_bytes(OTHER)
    address = remotes.propose(REPO, tmp_path / "night.json", "Findings: M1", "id 1")
    assert address == f"{hub.endpoint}/datasets/{REPO}/discussions/1"
    (pull,) = hub.pulls
    assert (pull["repo"], pull["summary"]) == (REPO, "Findings: M1")
    assert pull["files"] == {"findings/night.json": OTHER}


@pytest.mark.parametrize(
    ("token", "repo", "said"),
    [
        ("hf_reader", REPO, r"nothing was sent: the hub refuses HF_TOKEN \(403\). .*hf auth login"),
        ("hf_schlüssel", REPO, "nothing was sent: HF_TOKEN cannot be sent.*hf auth login"),
        ("hf_mine", "people/other", "shows no dataset repository people/other to this login.*hf repos create"),
    ],
)
def test_what_stops_a_pull_request(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, repo: str, said: str
) -> None:
    hub.put(REPO, a=GOOD)
    hub.writers = {"hf_mine"}
    monkeypatch.setenv("HF_TOKEN", token)
    (tmp_path / "night.json").write_bytes(OTHER)
    with pytest.raises(BundleError, match=said):
        remotes.propose(repo, tmp_path / "night.json", "Findings: M1", "id 1")
    assert hub.pulls == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, r"does not answer \(HF_ENDPOINT=http://127.0.0.1:9\).*Later"),
    ],
)
def test_without_a_network_nothing_is_sent(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, text in {"HF_TOKEN": "hf_mine", **variables}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(BundleError, match=f"nothing was sent: .*{said}"):
        remotes.propose(REPO, tmp_path / "night.json", "Findings: M1", "id 1")


@pytest.mark.slow
def test_without_a_login_the_command_for_it_is_named(tmp_path: Path) -> None:
    code = "from pathlib import Path; from autoresearch.loop import remotes; remotes.propose('a/b', Path('c'), '', '')"
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    here = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env={**clean, **here}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing was sent: there is no login for the hub. Run: " in done.stderr and "hf auth login" in done.stderr
