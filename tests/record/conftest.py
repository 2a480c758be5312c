"""A journal with a running clock, and a checkout on a machine without a git configuration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoresearch.paths import Layout
from autoresearch.record.branch import Branch
from autoresearch.record.journal import Journal
from testbed.checkouts import FILE, PERSON, V1, begin, git
from testbed.journals import OPENED


@pytest.fixture
def clock() -> Iterator[datetime]:
    start = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
    return iter(start + timedelta(seconds=i) for i in range(10_000))


@pytest.fixture
def journal(tmp_path: Path, clock: Iterator[datetime]) -> Iterator[Journal]:
    with Journal(Layout(tmp_path, "t"), lambda: next(clock)) as journal:
        journal.append("opened", **OPENED)
        yield journal


@pytest.fixture(autouse=True)
def no_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide this machine's git configuration and identity, and return the file that stands for ~/.gitconfig."""
    config = tmp_path_factory.mktemp("git") / "config"
    config.write_text("[init]\n\tdefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / FILE).write_bytes(V1)
    (folder / "README").write_text("hello\n")
    git(folder, "add", ".")
    git(folder, *PERSON, "commit", "-qm", "start")
    return folder


@pytest.fixture
def branch(folder: Path) -> Branch:
    return begin(folder)
