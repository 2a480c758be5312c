"""Files are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.files import sync, sync_folder, write_atomic


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_is_made_with_its_folders_and_then_replaced(tmp_path: Path, lasting: bool) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"one", lasting=lasting)
    write_atomic(path, b"two", lasting=lasting)
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_the_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o750)
    write_atomic(path, b"#!/bin/sh\nexit 0\n")
    assert path.stat().st_mode & 0o7777 == 0o750


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(b"half a fi")
    write_atomic(tmp_path / "file", b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"whole")]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        write_atomic(tmp_path / "file" / "below", b"")


def test_files_and_folders_are_synced(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    sync(fd)
    os.close(fd)
    sync_folder(tmp_path)
    with pytest.raises(OSError):
        sync(fd)


def test_a_secret_is_the_user_s_alone_whatever_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for old in (path, path.with_name(".key.tmp")):
        old.write_bytes(b"old")
        old.chmod(0o666)
    write_atomic(path, b"secret", mode=0o600)
    assert path.read_bytes() == b"secret" and path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["key"]
