"""Turn the way a program ends into its exit code and its last words. loop.py, prepare.py and train_mlx.py end here.

0, 1, ...   what the program returns, or the exit_code of an AutoresearchError, after `error: ...`; a full disk and a
            folder that may not be written are such errors
3           an unexpected exception; its traceback is in a log file that the message names
130         Ctrl-C
141         whoever read the output has closed it, as in `loop.py status | head -1`
"""

from __future__ import annotations

import io
import os
import re
import select
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from autoresearch.errors import AutoresearchError
from autoresearch.paths import Cache
from autoresearch.system import disk

UNEXPECTED, INTERRUPTED, CLOSED = 3, 130, 141


def exit_code(program: Callable[[], int], stopped: str) -> int:
    """Run `program` and return its exit code; print `stopped` when a Ctrl-C ends it.

    A SystemExit with a number, as from argparse, counts as a return.
    """
    mend_streams()
    try:
        code = _returned(program)
        print(end="", flush=True)  # here, where a closed pipe can be handled, and not as the interpreter exits
        return code
    except AutoresearchError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say(stopped)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where nothing can be done about it but to say so
        if isinstance(error, BrokenPipeError) and _stdout_closed():
            return CLOSED
        if isinstance(error, OSError) and (why := disk.refusal(error)) is not None:
            _say(f"error: {why}")
            return AutoresearchError.exit_code
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("autoresearch"):
            how = f"uv run {shlex.join(sys.argv)}   (without uv: make run)"
            _say(f"error: the package {error.name} is not installed here. Run: {how}")
            return AutoresearchError.exit_code
        _say(*_unexpected(error))
        return UNEXPECTED


def mend_streams() -> None:
    """Let every text be printed and no stream be missing.

    A character that the terminal's encoding lacks becomes `?`. A width or height that no terminal has is not used. A
    stream that the caller has closed becomes /dev/null, before a file of ours gets its number and a child writes there.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd)
            if null != fd:
                os.close(null)
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch(r"[1-9][0-9]{0,3}", os.environ.get(name, "1")):
            del os.environ[name]  # rich and argparse would draw with it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def _returned(program: Callable[[], int]) -> int:
    try:
        return program()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        return end.code or 0


def _stdout_closed() -> bool:
    """Return whether standard output is a pipe that nobody reads; if so, discard what is still to be flushed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    closed = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def _unexpected(error: Exception) -> list[str]:
    """Return two lines for the person: what happened, and where the traceback is and what to do with it."""
    what = " ".join("".join(traceback.format_exception_only(error)).split())
    log = _write_log("".join(traceback.format_exception(error)))
    if log is None:
        return [f"unexpected error: {what}", *traceback.format_exception(error)]
    return [
        f"unexpected error: {what}",
        f"The traceback is in {log}: please report it. To try again, run the same command.",
    ]


def _write_log(text: str) -> Path | None:
    """Write a log named with the time into the cache, else among the temporary files; None where neither works."""
    import platform
    import tempfile

    now = time.localtime()
    command = shlex.join(sys.argv)
    system = f"Python {platform.python_version()}, {platform.platform()}"
    for in_cache in (True, False):
        try:
            folder = Cache.default().error_logs if in_cache else Path(tempfile.gettempdir())
            path = folder / f"autoresearch-{time.strftime('%Y-%m-%d-%H%M%S', now)}.log"
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{command}\n{system}\n\n{text}", encoding="utf-8", errors="backslashreplace")
        except (OSError, AutoresearchError):
            continue
        return path
    return None


def _say(*lines: str) -> None:
    """Print to standard error; a terminal that is gone does not matter."""
    try:
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    except OSError:
        return
