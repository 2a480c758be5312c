"""Hand out a run's training data from the loop's side, batch by batch, until its time is used.

The train child holds no data. It asks over one pipe for so many rows of so many tokens, and reads them from another;
prepare.Feed is its end. A pipe, unlike a socket, works in every sandbox. Requests are untrusted input: one at a time,
and of a size that the harness allows.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from autoresearch.errors import DataError
from autoresearch.measure.clock import Clock

REQUEST = struct.Struct("<II")  # rows, tokens of a row
ANSWER = struct.Struct("<ddI")  # seconds used, seconds in all, tokens that follow as uint16; none at the end
MOST_TOKENS = 2**24  # of one batch
MOST_PIECES = 2**22  # into which a length may cut the data: their order is held in memory
MOST_LENGTHS = 16  # lengths that a run may ask for
REQUESTS_FD, BATCHES_FD = "AUTORESEARCH_REQUESTS_FD", "AUTORESEARCH_BATCHES_FD"
TICK_MS = 200  # between two looks whether the feeder is to stop

Rows = np.ndarray[Any, np.dtype[np.uint16]]


@dataclass(frozen=True, slots=True)
class RowShape:
    """What the feeder reads of the data's meta.json."""

    seq_len: int


def load_rows(path: Path, seq_len: int) -> Rows:
    """Map packed rows into memory: (rows, seq_len + 1). Raises DataError where the file has no whole rows."""
    try:
        rows: Rows = np.memmap(path, dtype="<u2", mode="r").reshape(-1, seq_len + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as rows of {seq_len + 1} tokens: {error}") from error
    return rows


class Order:
    """The pieces of the rows of one length, each epoch in an order of its own drawn from the seed."""

    def __init__(self, rows: Rows, length: int, seed: int) -> None:
        self.per_row = (rows.shape[1] - 1) // length
        self.total, self.stride, self.length, self.seed = len(rows) * self.per_row, rows.shape[1], length, seed
        self._offsets = np.arange(length + 1)
        self._waiting = np.empty(0, dtype=np.int64)
        self._epoch = 0

    def take(self, count: int) -> Any:
        """Return the flat indices of the next `count` pieces: (count, length + 1)."""
        epochs = range(self._epoch, self._epoch + -(-max(0, count - len(self._waiting)) // self.total))
        drawn = [np.random.default_rng([self.seed, 2, epoch]).permutation(self.total) for epoch in epochs]
        self._waiting, self._epoch = np.concatenate([self._waiting, *drawn]), epochs.stop
        piece, self._waiting = self._waiting[:count], self._waiting[count:]
        start = piece // self.per_row * self.stride + piece % self.per_row * self.length
        return start[:, None] + self._offsets


class Feeder:
    """A thread that answers one child's requests for batches, by `clock`. Use it as a context manager.

    with Feeder(rows, seed, clock) as feeder:
        start a child with pass_fds=feeder.pass_fds
        feeder.release()
    """

    def __init__(self, rows: Rows, seed: int, clock: Clock) -> None:
        self.rows, self.seed, self.clock = rows, seed, clock
        self._orders: dict[int, Order] = {}
        self._requests, self._childs_requests = os.pipe()
        self._childs_batches, self._batches = os.pipe()
        os.set_blocking(self._batches, False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="feeder")

    @property
    def pass_fds(self) -> Mapping[str, int]:
        """The child's ends of the pipes, by the environment variables that tell it their numbers."""
        return {REQUESTS_FD: self._childs_requests, BATCHES_FD: self._childs_batches}

    def release(self) -> None:
        """Close the child's ends, which it has inherited: without it the pipes are closed."""
        for fd in (self._childs_requests, self._childs_batches):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._childs_requests = self._childs_batches = -1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.release()
        os.close(self._requests)

    # --- the thread ---

    def _serve(self) -> None:
        try:
            while (asked := self._next_request()) is not None and self._write(self._answer(*asked)):
                pass
        finally:
            os.close(self._batches)  # a child that waits for a batch reads the end of the pipe

    def _next_request(self) -> tuple[float, int, int] | None:
        """Return when a request came, its rows and its length; None where there is none, and none will come."""
        if not self._ready(self._requests, select.POLLIN):
            return None
        said, now = os.read(self._requests, 4096), time.monotonic()
        if len(said) != REQUEST.size:
            self.clock.refused = "asked for a batch before it had the last one" if said else self.clock.refused
            return None
        rows, length = REQUEST.unpack(said)
        self.clock.refused = self._problem(rows, length)
        return None if self.clock.refused else (now, rows, length)

    def _problem(self, rows: int, length: int) -> str | None:
        seq_len = self.rows.shape[1] - 1
        if not (1 <= length <= seq_len and rows >= 1 and rows * (length + 1) <= MOST_TOKENS):
            return f"asked for {rows} rows of {length} tokens: at most {seq_len} in a row, and {MOST_TOKENS} in all"
        if len(self.rows) * (seq_len // length) > MOST_PIECES:
            return f"asked for rows of {length} tokens, which cut the data into more than {MOST_PIECES} pieces"
        if length not in self._orders and len(self._orders) == MOST_LENGTHS:
            return f"asked for rows of more than {MOST_LENGTHS} different lengths"
        return None

    def _answer(self, asked: float, rows: int, length: int) -> bytes:
        clock, started = self.clock, self.clock.began is not None
        if started and clock.is_over(asked):
            return ANSWER.pack(clock.used_s(asked), clock.training_s, 0)
        order = self._orders.setdefault(length, Order(self.rows, length, self.seed))
        block = self.rows.reshape(-1)[order.take(rows)]  # (rows, length + 1)
        now = time.monotonic()
        clock.hand_out(asked if started else now, rows * length)
        return ANSWER.pack(clock.used_s(now), clock.training_s, block.size) + bytes(block.tobytes())

    def _write(self, data: bytes) -> bool:
        """Write all of it as fast as the child reads, and return whether that worked."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._batches, left) :]
            except BlockingIOError:
                if not self._ready(self._batches, select.POLLOUT):
                    return False
            except BrokenPipeError:
                return False
        return True

    def _ready(self, fd: int, event: int) -> bool:
        """Wait until the pipe can be used, and return False where the feeder is to stop."""
        waiting = select.poll()
        waiting.register(fd, event)
        while not self._stopping.is_set():
            if waiting.poll(TICK_MS):
                return True
        return False
