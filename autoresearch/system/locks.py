"""Hold the locks of whatever trains: one per machine, which has one GPU, and one of a loop per checkout.

The operating system releases a lock when its process ends in any way, so there are no stale locks to clean up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autoresearch import jsonable
from autoresearch.errors import LockedError
from autoresearch.formats import printable, shortened
from autoresearch.system.invocation import command

COMMAND_SHOWN = 300  # characters of the holder's command line


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as its file names it."""

    pid: int
    since: float  # by time.time()
    folder: str
    command: str = ""


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path` inside the block, e.g. `with hold(cache.machine_lock, "this machine"):`.

    Raises LockedError at once when another process holds it; the message names its pid, its start and its folder. The
    file remains afterwards; its existence does not mean that the lock is held.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}. It has to be in a folder that you can write to"
        raise LockedError(f"cannot lock {what}: {why}") from None
    try:
        _take(fd, path, what)
        yield
    finally:
        os.close(fd)


def _take(fd: int, path: Path, what: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(_refusal(os.pread(fd, 4096, 0), path, what)) from None
    except OSError as error:
        raise LockedError(f"cannot lock {what}: {path}: {error}") from None
    argv = shortened(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), COMMAND_SHOWN)
    holder = Holder(os.getpid(), time.time(), str(Path.cwd()), argv)
    with contextlib.suppress(OSError):  # on a full disk the lock works without the text
        os.ftruncate(fd, 0)
        os.pwrite(fd, jsonable.to_json(holder), 0)


def _refusal(content: bytes, path: Path, what: str) -> str:
    """Describe the holder from the lock file's content, which may be incomplete while the holder writes it."""
    try:
        holder = jsonable.from_json(Holder, content)
        since = datetime.fromtimestamp(holder.since).astimezone()
    except (ValueError, OSError, OverflowError):
        return f"another process holds {what} ({path}). Wait for it, or look for it: lsof {path}"
    program = f" ({printable(holder.command)})" if holder.command else ""
    who = f"process {holder.pid}{program}, since {since:%Y-%m-%d %H:%M}, in {printable(holder.folder)}"
    return f"another process holds {what}: {who}. See: {command('loop.py status')} (or end it: kill -INT {holder.pid})"
