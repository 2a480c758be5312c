"""Use a small checkout with one editable file, for tests of what the loop does to a repository."""

from __future__ import annotations

from pathlib import Path

from autoresearch.record.git import Repository
from autoresearch.system.process import run

FILE = "train_mlx.py"
V1, V2, V3 = b"LR = 1\n", b"LR = 2\n", b"LR = 3\n"


def git(folder: Path, *args: str, input: bytes = b"") -> str:
    return run(["git", *args], cwd=folder, input=input).stdout.rstrip("\n")


def keep(repo: Repository, content: bytes, parent: str | None = None, n: int = 1, **options: object):  # type: ignore[no-untyped-def]
    return repo.keep("t", n, parent or repo.head(), FILE, content, f"Keep {n}\n\nwhy", **options)  # type: ignore[arg-type]


def consistent(folder: Path) -> None:
    git(folder, "fsck", "--strict", "--no-dangling")
    assert git(folder, "status", "--porcelain") == ""
