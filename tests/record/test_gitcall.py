"""What of the environment, the configuration and the kind of checkout reaches git, and how its failures are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.errors import GitError
from autoresearch.record.git import Repository
from testbed.checkouts import FILE, PERSON, V1, V2, V3, begin, consistent, git, keep

pytestmark = pytest.mark.slow

ODD = """\
[log]
    showSignature = true
    showRoot = false
    follow = true
    decorate = full
    abbrevCommit = true
    date = relative
    diffMerges = on
[format]
    pretty = fuller
    notes = *
[color]
    ui = always
[core]
    quotePath = true
    pager = less
    abbrev = 4
    autocrlf = true
    safecrlf = true
    fsmonitor = /bin/false
    hooksPath = hooks
    editor = vi
[diff]
    external = /bin/false
    noprefix = true
    renames = copies
    relative = true
[status]
    short = true
    branch = true
    showStash = true
    showUntrackedFiles = all
[commit]
    gpgSign = true
    template = /nonexistent
[tag]
    gpgSign = true
[gpg]
    program = /bin/false
[user]
    signingKey = ABCDEF
[submodule]
    recurse = true
[init]
    templateDir = /nonexistent
    defaultBranch = main
"""


def refused(folder: Path) -> str:
    with pytest.raises(GitError) as caught:
        Repository.at(folder)
    return str(caught.value)


def test_a_persons_settings_change_nothing(folder: Path, no_config: Path) -> None:
    plain = Repository.at(folder)
    expected = plain.versions("HEAD", FILE), plain.title("HEAD").split()[1:], plain.last_change("HEAD", FILE)
    no_config.write_text(ODD)
    branch = begin(folder)
    repo = branch.repo
    assert (repo.versions("HEAD", FILE), repo.title("HEAD").split()[1:], repo.last_change("HEAD", FILE)) == expected
    assert keep(branch, V2).state == "applied"
    assert keep(branch, V2).commit == repo.resolve(branch.ref) == repo.last_change(branch.ref, FILE)
    branch.set_aside(2, "HEAD", {FILE: V3}, "x")
    assert repo.first_version(FILE) == V1 and (folder / FILE).read_bytes() == V2
    assert repo.changes() == [] and "gpgsig" not in git(folder, "cat-file", "commit", "HEAD")
    (folder / "README").write_text("changed\n")
    assert repo.changes() == ["README"]


@pytest.mark.parametrize(
    "variables",
    [
        {f"GIT_{name}": "/nonexistent" for name in ("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "NAMESPACE")},
        {"GIT_OBJECT_DIRECTORY": "/nonexistent", "GIT_QUARANTINE_PATH": "/nonexistent"},
        {"GIT_CONFIG_PARAMETERS": "'core.worktree'='/nonexistent'", "GIT_CONFIG": "/nonexistent"},
        {"GIT_LITERAL_PATHSPECS": "1", "GIT_ICASE_PATHSPECS": "1", "GIT_PREFIX": "a/"},
        {"GIT_EXTERNAL_DIFF": "false", "GIT_PAGER": "false", "GIT_EDITOR": "false", "GIT_TRACE": "2"},
        {"GIT_AUTHOR_DATE": "nonsense", "GIT_COMMITTER_DATE": "nonsense", "GIT_REFLOG_ACTION": "x"},
    ],
)
def test_variables_of_another_git_change_nothing(
    folder: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert keep(begin(folder), V2).settled
    for name in variables:
        monkeypatch.delenv(name)
    consistent(folder)


def test_settings_in_variables_count_as_a_containers_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"COUNT": "1", "KEY_0": "user.name", "VALUE_0": "From A Variable"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
    keep(begin(folder), V2)
    assert git(folder, "log", "-1", "--format=%an") == "From A Variable"


def test_a_download_in_another_repository_is_refused_and_moves_nothing(folder: Path) -> None:
    inside = folder / "autoresearch metal"
    inside.mkdir()
    shutil.copy(folder / FILE, inside / FILE)
    before = git(folder, "symbolic-ref", "HEAD"), git(folder, "for-each-ref")
    said = refused(inside)
    assert f"{inside} lies in the repository {folder} but is not part of it" in said
    assert said.endswith(f"Run: cd '{inside}' && git init && git add -A && git commit -m start")
    assert (git(folder, "symbolic-ref", "HEAD"), git(folder, "for-each-ref")) == before
    git(folder, "add", ".")
    git(folder, *PERSON, "commit", "-qm", "a part of it now")
    assert Repository.at(inside).prefix == "autoresearch metal/"


def test_a_download_without_a_repository_is_told_three_commands(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"{tmp_path} is not a git repository, and the night's changes are kept as commits."
        " Run there: git init && git add -A && git commit -m start"
    )


def test_other_checkouts_that_cannot_be_worked_in(folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(folder), "bare")
    assert "is a bare git repository" in refused(tmp_path / "bare")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(folder, "config", "core.worktree", str(elsewhere))
    assert f"git works on {elsewhere} and not on {folder}" in refused(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_told_the_command(folder: Path, no_config: Path) -> None:
    os.chown(folder, 65534, 65534)
    said = refused(folder)
    assert said.endswith(f"Run: git config --global --add safe.directory {folder}")
    subprocess.run(said.partition("Run: ")[2], shell=True, check=True)
    assert Repository.at(folder).branch() == "main"


def test_without_git_and_with_an_old_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = begin(folder)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    how = "xcode-select --install" if sys.platform == "darwin" else "apt-get install git"
    assert f"is not installed. Run: {how}" in refused(folder)
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "git"
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo git version 1.8.3 && exit\n'
        "echo \"git: 'switch' is not a git command\" >&2\nexit 1\n"
    )
    old.chmod(0o755)
    with pytest.raises(GitError, match=r"^git is too old: 1\.8\.3, and 2\.23 is needed"):
        branch.repo.head()


@pytest.mark.parametrize("kind", ["--filter=tree:0", "--filter=blob:none", "--depth=1"])
def test_a_partial_clone_without_a_network(folder: Path, tmp_path: Path, kind: str) -> None:
    for i, content in enumerate((V2, V3)):
        (folder / FILE).write_bytes(content)
        git(folder, *PERSON, "commit", "-qam", f"change {i}")
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", kind, f"file://{folder}", "clone")
    folder.rename(tmp_path / "away")
    branch = begin(tmp_path / "clone")
    assert keep(branch, V1).state == "applied" and keep(branch, V1).state == "present"
    branch.set_aside(2, branch.tip(), {FILE: V2}, "x")
    assert (tmp_path / "clone" / FILE).read_bytes() == V1
