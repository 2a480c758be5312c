"""Use a small checkout with one editable file, for tests of what the loop does to a repository."""

from __future__ import annotations

from pathlib import Path

from autoresearch.record.branch import Branch, Placement
from autoresearch.record.git import Repository
from autoresearch.system.process import run

FILE = "train_mlx.py"
V1, V2, V3 = b"LR = 1\n", b"LR = 2\n", b"LR = 3\n"
PERSON = ("-c", "user.name=P", "-c", "user.email=p@example.org")


def git(folder: Path, *args: str, input: bytes = b"") -> str:
    return run(["git", *args], cwd=folder, input=input).stdout.rstrip("\n")


def begin(folder: Path, tag: str = "t", at: str = "HEAD") -> Branch:
    """Return the branch of a night, checked out where git lets it be."""
    repo = Repository.at(folder)
    branch = Branch.begin(repo, tag, repo.resolve(at) or "")
    repo.switch(branch.name)
    return branch


def keep(
    branch: Branch, content: bytes, parent: str | None = None, n: int = 1, also: dict[str, bytes] | None = None
) -> Placement:
    return branch.keep(n, parent or branch.tip(), {FILE: content}, f"Keep {n}\n\nwhy", also)


def consistent(folder: Path) -> None:
    git(folder, "fsck", "--strict", "--no-dangling")
    assert git(folder, "status", "--porcelain") == ""
