"""A stranger's repository is never checked out: no filter runs, no link is made, and no tree of it fills the disk."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from autoresearch.errors import GitError
from autoresearch.loop import remote_git


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def git(folder: Path, *args: str, input: str = "") -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *who, *args], cwd=folder, input=input, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, *entries: str) -> None:
    """Make the repository's newest commit of lines as `git ls-tree` prints them."""
    tree = git(folder, "mktree", "--missing", input="".join(f"{line}\n" for line in entries))
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", tree, "-m", "x"))


def taken(tmp_path: Path, there: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files that came, and what was refused with its kind."""
    refused: dict[str, str] = {}

    def choose(files: Sequence[tuple[str, int]]) -> list[str]:
        return [name for name, size in files if name.endswith(".json") and size < 100]

    remote_git.update(tmp_path / "cache", str(there), "findings", choose, refused.__setitem__)
    files = tmp_path / "cache" / "files"
    return {str(p.relative_to(files)): p.read_text() for p in files.rglob("*") if p.is_file()}, refused


def test_two_folders_are_read_and_nothing_else_is_unpacked(
    tmp_path: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "gitconfig").write_text(f'[filter "mine"]\n smudge = touch {mark}\n required = true\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    small, large, attributes = (
        git(there, "hash-object", "-w", "--stdin", input=text) for text in ("{}\n", "x" * 200, "*.json filter=mine\n")
    )
    bomb = git(there, "mktree", input="".join(f"100644 blob {large}\t{i}\n" for i in range(10)))
    for _ in range(8):  # a billion files
        bomb = git(there, "mktree", input="".join(f"040000 tree {bomb}\t{i}\n" for i in range(10)))
    findings = git(there, "mktree", input=f"100755 blob {small}\tb.json\n040000 tree {bomb}\tdeep\n")
    commit(
        there,
        f"100644 blob {small}\ta.json",
        f"100644 blob {large}\tlarge.json",
        f"100644 blob {attributes}\t.gitattributes",
        f"120000 blob {small}\tlink.json",
        f"160000 commit {'1' * 40}\tsub.json",
        f"040000 tree {bomb}\tbomb",
        f"040000 tree {findings}\tfindings",
    )
    files, refused = taken(tmp_path, there)
    assert files == {"a.json": "{}\n", "findings/b.json": "{}\n"}
    assert refused == {"link.json": "a link", "sub.json": "a submodule"} and not mark.exists()


def test_what_cannot_be_fetched_leaves_the_copy_as_it_was(tmp_path: Path, there: Path) -> None:
    commit(there, f"100644 blob {git(there, 'hash-object', '-w', '--stdin', input='1')}\ta.json")
    assert taken(tmp_path, there)[0] == {"a.json": "1"}
    there.rename(tmp_path / "gone")
    with pytest.raises(GitError):
        taken(tmp_path, there)
    assert (tmp_path / "cache" / "files" / "a.json").read_text() == "1"
    commit(
        tmp_path / "gone", f"100644 blob {git(tmp_path / 'gone', 'hash-object', '-w', '--stdin', input='2')}\tb.json"
    )
    assert taken(tmp_path, tmp_path / "gone")[0] == {"b.json": "2"}
