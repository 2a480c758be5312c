"""Read a child's output: a log of limited size, and a rate-limited stream of JSON events. Both are untrusted input.

process.Child feeds them from its supervising thread.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

END_BYTES = 4000  # the end of a log, kept in memory
MAX_EVENT_BYTES = 64 * 1024  # of one line
MAX_WAITING_EVENTS = 4096
EVENT_BYTES_PER_S = 1024 * 1024  # on average; more is dropped
BURST_BYTES = 8 * EVENT_BYTES_PER_S
EVENT_COST_BYTES = 512  # counted for each event beside its length, for the time that parsing takes

ChildEvent = Mapping[str, Any]


class CappedLog:
    """A log file of about `limit_bytes` at most, which keeps the beginning and the end of a longer output.

    The first half is written as it arrives, the second when the log is closed.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file = os.fdopen(_create(path), "wb", buffering=0)
        self._room, self._keep = limit_bytes // 2, limit_bytes - limit_bytes // 2
        self._tail = bytearray()
        self._cut = 0
        self.error: OSError | None = None  # of a full disk; it ends the log, not the child
        self.end = b""  # the last bytes, for messages; not read from `path`, where the child can put another file

    def write(self, chunk: bytes) -> None:
        self.end = (self.end + chunk)[-END_BYTES:]
        head, rest = chunk[: self._room], chunk[self._room :]
        self._room -= len(head)
        self._put(head)
        self._tail += rest
        if (excess := len(self._tail) - self._keep) > 0:
            self._cut += excess
            del self._tail[:excess]

    def _put(self, data: bytes) -> None:
        if not data or self.error:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error

    def close(self) -> None:
        if self._cut:
            self._put(f"\n... {self._cut} bytes cut ...\n".encode())
        self._put(bytes(self._tail))
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _create(path: Path) -> int:
    """Create a new file in place of whatever an earlier child left there: a link to another file, a pipe, a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)


class EventStream:
    """JSON objects, one per line, from a pipe; lines that are not such objects, too long or too many are dropped."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dropped = 0
        self._queue: queue.Queue[tuple[float, ChildEvent] | None] = queue.Queue(MAX_WAITING_EVENTS + 1)
        self._partial = b""
        self._skipping = False  # inside a line that is too long
        self._allowance, self._filled_at = float(BURST_BYTES), time.monotonic()
        self._ended = False

    def get(self, timeout: float | None) -> tuple[float, ChildEvent] | None:
        """Return the next event and the time.monotonic() of its arrival; None after `timeout` seconds or at the end."""
        if self._ended and self._queue.empty():
            return None
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if item is None:
            self._ended = True
        return item

    @property
    def waiting(self) -> bool:
        """Whether unread events remain; the end-of-stream marker is not counted."""
        return not self._ended and self._queue.qsize() > 1

    def feed(self, chunk: bytes) -> None:
        """Take in bytes of the pipe, cut anywhere."""
        now = time.monotonic()
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._take(now, line)
        if len(self._partial) > MAX_EVENT_BYTES:
            self.dropped += not self._skipping
            self._skipping, self._partial = True, b""

    def _take(self, now: float, line: bytes) -> None:
        event = _parse(line) if len(line) <= MAX_EVENT_BYTES and self._affords(now, len(line)) else None
        if event is None or self._queue.qsize() >= MAX_WAITING_EVENTS:
            self.dropped += 1
        else:
            self._queue.put((now, event))

    def _affords(self, now: float, size: int) -> bool:
        """Take `size` from a token bucket of bytes, or return False: a flood is dropped without being parsed."""
        filled = self._allowance + (now - self._filled_at) * EVENT_BYTES_PER_S
        self._allowance, self._filled_at = min(filled, float(BURST_BYTES)), now
        if self._allowance < size + EVENT_COST_BYTES:
            return False
        self._allowance -= size + EVENT_COST_BYTES
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._partial and not self._skipping:
            self._take(time.monotonic(), self._partial)
        os.close(self.fd)
        self._queue.put(None)


def _parse(line: bytes) -> ChildEvent | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
