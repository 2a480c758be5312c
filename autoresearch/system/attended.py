"""Run a long command in the foreground, with our own terminal, and wait for its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence


def attend(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code of a command, or minus the signal that ended it. Ctrl-C ends it before it propagates.

    `env` is its whole environment. Raises OSError where there is no such program.
    """
    pid = os.posix_spawnp(argv[0], list(argv), dict(env))
    try:
        return _wait(pid)
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        _wait(pid)
        raise


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
