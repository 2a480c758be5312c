"""A command under guard: its exit code, and its end with all that it has started once nobody is left to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoresearch.system import guard

GUARD = [sys.executable, "-I", "-S", guard.__file__]
PARENT = """\
import os, subprocess, sys, time
guarded = [*sys.argv[1:], str(os.getpid()), "sh", "-c", "sleep 300 & sleep 300 & echo started; wait"]
subprocess.Popen(guarded, start_new_session=True)
time.sleep(300)
"""


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_commands(command: str, code: int) -> None:
    guarded = [*GUARD, str(os.getpid()), "sh", "-c", command]
    assert subprocess.run(guarded, start_new_session=True, check=False).returncode == code


def test_sigterm_is_the_commands_to_answer() -> None:
    command = [*GUARD, str(os.getpid()), "sh", "-c", "trap 'exit 9' TERM; echo ready; sleep 300 & wait"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == 9


@pytest.mark.slow
def test_a_killed_parent_takes_the_command_and_its_children_along(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, *GUARD], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"started\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 4
        parent.kill()
        deadline = time.monotonic() + 30
        while any(process.is_running() for process in family) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(process.is_running() for process in family)
