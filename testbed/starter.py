"""Start a program again and again, forked from a process that has imported all: it begins at once on a loaded machine.

`Starter` is the side that asks, and `serve` the process that forks. Where forking after imports is not safe (macOS) the
program is a process of its own.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed.toy import ROOT

ALONE = "--alone"  # last argument of a program that is not forked


class Starter:
    """A program that is started again and again, one process at a time."""

    def __init__(self, argv: Sequence[object], env: Mapping[str, str]) -> None:
        self.pid, self.code = 0, 0  # of the latest process; the code holds once it has ended
        self._running = False
        self._server = subprocess.Popen(
            [*map(str, argv)], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def start(self) -> int:
        assert self._server.stdin is not None and self._server.stdout is not None and not self._running
        self._server.stdin.write(b"start\n")
        self.pid, self._running = int(self._server.stdout.readline()), True
        return self.pid

    def ended(self, wait_s: float = 0.0) -> bool:
        """Return whether no process runs, after `wait_s` at most."""
        assert self._server.stdout is not None
        if self._running and select.select([self._server.stdout], [], [], wait_s)[0]:
            self.code, self._running = int(self._server.stdout.readline()), False
        return not self._running

    def send(self, number: signal.Signals) -> None:
        if not self.ended():
            os.kill(self.pid, number)

    def close(self) -> None:
        """Kill what runs."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def serve(program: Callable[[], int], said: Path) -> int:
    """Run the program for each line that comes, and print its pid, then its exit code; at the end of input, kill it.

    What it says is appended to `said`.
    """
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            log, nothing = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open(os.devnull, os.O_RDONLY)
            for fd, to in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(fd, to)
            if sys.platform != "linux":
                os.execv(sys.executable, [*sys.orig_argv, ALONE])
            os._exit(program())
        print(pid, flush=True)
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if select.select([sys.stdin], [], [], 0.05)[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return 0
        print(os.waitstatus_to_exitcode(ended[1]), flush=True)
    return 0
