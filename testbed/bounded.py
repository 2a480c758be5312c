"""Run a command to its end within a limit, and tell where it stands when it does not end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil

NAME = "TESTBED_RUN"  # in the environment of the command and of all that it starts
STACKS_S = 5.0  # that a process has to write the stacks of its threads


def finished(argv: Sequence[str | Path], cwd: Path, limit_s: float) -> str:
    """Return what a Python command printed, once it and all that it started have ended.

    Raises AssertionError where its exit code is not 0, or something of it still runs after `limit_s` seconds: with its
    output, the processes that are left and the stacks of their threads.
    """
    mark = uuid.uuid4().hex
    env = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", NAME: mark}
    with tempfile.TemporaryFile() as said:
        started = subprocess.Popen(list(map(str, argv)), cwd=cwd, env=env, stdout=said, stderr=said)
        end, left = time.monotonic() + limit_s, list[str]()
        while (started.poll() is None or _of(mark)) and not left:
            if time.monotonic() > end:
                left = _end(mark)
            time.sleep(0.1)
        code = started.wait()
        said.seek(0)
        text = said.read().decode()
    assert not left, f"after {limit_s:g} s it has not ended: {left}\n{text}"
    assert code == 0, f"exit code {code}\n{text}"
    return text


def _of(mark: str) -> list[psutil.Process]:
    """Return the processes of a run that have not ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(NAME) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _end(mark: str) -> list[str]:
    """Let each process of a run write its stacks and end; return their commands."""
    left, standing = [], _of(mark)
    for process in standing:
        with contextlib.suppress(psutil.Error):
            left.append(f"{process.pid} {' '.join(process.cmdline())}")
            process.send_signal(signal.SIGABRT)
    for process in psutil.wait_procs(standing, STACKS_S)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return left or ["nothing any more"]
