"""Where text comes from: files of every kind, in pieces, in an order that stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.tasks.gpt.data import sources


def test_a_text_hash_is_for_ever() -> None:
    assert sources.text_hash("a document") == 8989495741563936255
    counts = [sources.split_of(f"document {i}") for i in range(20_000)]
    assert 700 < counts.count("val") < 900
    assert 700 < counts.count("test") < 900


def test_a_dataset_that_names_nothing_is_refused() -> None:
    for name in ("", " ", "no such folder", "a\0b", "x" * 5000, "a\nb"):
        with pytest.raises(UsageError, match=r"^--dataset [^\n]*: neither climbmix"):
            sources.find(name, 1)
        assert sources.folder_name(name) == name
    for name in ("~no-such-user/notes", "$NO_SUCH_VARIABLE/notes"):
        with pytest.raises(UsageError):
            sources.find(name, 1)


def test_files_of_any_name_are_found_and_links_are_not_followed_for_ever(tmp_path: Path) -> None:
    names = [b"line\nfeed.txt", b"latin \xe9.txt", "ü – ü.txt".encode(), b"-rf.txt", b"$HOME.txt"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"some text")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    source = sources.find(str(tmp_path), 1)
    assert len(list(source.documents(("train", "val", "test")))) == len(names)
    assert source.identity["files"] == len(names) and "\n" not in source.title
    assert "\n" not in sources.find(str(tmp_path / "line\nfeed.txt"), 1).title


@pytest.mark.slow
def test_the_standard_library_is_text_of_this_python() -> None:
    source = sources.standard_library()
    names = {path.relative_to(source.root).as_posix() for path in source.paths}
    assert {"argparse.py", "json/decoder.py", "asyncio/tasks.py"} <= names
    assert not any(part in name.split("/") for name in names for part in ("test", "tests", "site-packages"))
    version = ".".join(map(str, sys.version_info[:3]))
    assert version in source.title
    assert version in source.identity["python"]
    characters = sum(len(text) for _, text in source.documents(("train", "val", "test")))
    assert characters > 5_000_000
