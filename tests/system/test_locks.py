"""Locks between real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoresearch.errors import LockedError
from autoresearch.system.locks import hold
from autoresearch.system.process import run
from testbed.toy import ROOT

HOLD = """
import subprocess, sys, time
from pathlib import Path
from autoresearch.system.locks import hold
with hold(Path(sys.argv[1]), "this machine"):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@contextmanager
def other_loop(path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    argv = [sys.executable, "-c", HOLD, str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True, cwd=path.parent) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            os.kill(child, 9)


def test_the_second_loop_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "machine.lock"
    with other_loop(path) as (process, _):
        expected = (
            rf"another process holds this machine: process {process.pid} \(-c {path}\), "
            rf"since 20\d\d-.*, in {tmp_path}\. .*kill -INT"
        )
        with pytest.raises(LockedError, match=expected), hold(path, "this machine"):
            pass


def test_a_killed_loop_holds_nothing_even_while_its_child_lives(tmp_path: Path) -> None:
    path = tmp_path / "machine.lock"
    with other_loop(path) as (process, child):
        process.kill()
        process.wait()
        os.kill(child, 0)  # still there
        with hold(path, "this machine"):
            pass


def test_one_process_may_not_hold_it_twice_and_may_hold_it_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.lock"
    with hold(path, "this checkout"):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"), hold(path, "this checkout"):
            pass
        with hold(tmp_path / "y.lock", "another checkout"):
            pass
    with hold(path, "this checkout"):
        pass


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), hold(tmp_path / "x.lock", "x"):
        raise KeyboardInterrupt
    with hold(tmp_path / "x.lock", "x"):
        pass


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b'{"pid": "x"}', b'{"pid": 1, "since": 1e300}', b"\xff"])
def test_what_the_file_says_is_not_trusted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.lock"
    with other_loop(path):
        path.write_bytes(content)
        with pytest.raises(LockedError, match=r"another process holds it \(.*lsof"), hold(path, "it"):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.lock"
    with pytest.raises(LockedError, match=r"cannot lock this machine: .*file"), hold(path, "this machine"):
        pass


def test_the_lock_is_not_passed_on_to_commands(tmp_path: Path) -> None:
    with hold(tmp_path / "x.lock", "x"):
        listed = run([sys.executable, "-c", "import json, os; print(json.dumps(os.listdir('/dev/fd')))"]).stdout
    assert len(json.loads(listed)) <= 4  # the standard streams and the listing itself
