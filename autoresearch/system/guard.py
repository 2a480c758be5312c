"""Run a command, and end its process group once the process that started this one has ended, be it by `kill -9`.

    python -I -S guard.py PARENT COMMAND ARGUMENT...

PARENT is the id of the process that has to live. The caller puts this one into a process group of its own, which the
command and its descendants share. It runs as a program that imports nothing of the package, so that it stays small
beside a night.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

POLL_S = 1.0  # between two looks at the parent
GRACE_S = 5.0  # between SIGTERM and SIGKILL


def run(parent: int, command: list[str]) -> int:
    """Return the command's exit code. Where the parent ends first, end the whole group, this process as well."""
    woken = _wake_at_a_childs_end()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the group, it is for the command
    pid = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGTERM])
    while (code := _exit_code(pid)) is None:
        if os.getppid() != parent:
            _end_group(pid)
        select.select([woken], [], [], POLL_S)
    return code


def _wake_at_a_childs_end() -> int:
    """Return a file descriptor that becomes readable when a child has ended."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return read_fd


def _exit_code(pid: int) -> int | None:
    """Return a child's exit code, 128 and its number for a signal, or None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_group(pid: int) -> None:
    """Send SIGTERM to the group, on which a server cleans up, and SIGKILL when it has ended or GRACE_S have passed."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while _exit_code(pid) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(run(int(sys.argv[1]), sys.argv[2:]))
