"""Carry tokens from the judge's process to a model's, and logits back, through shared memory and a pair of pipes.

The pipes carry messages of a fixed size. In the memory stand two places for the tokens of a batch, and two for a chunk
of logits: while the judge scores one chunk, the model's process writes the next. The judge believes nothing that it
reads: it copies a chunk out before it looks at it, and a message that is out of turn ends the evaluation. Both children
of the harness use this file (see children.py); it needs no MLX.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK_BYTES = 2**25  # of logits in float32 that are passed on at a time, at most
MESSAGE = struct.Struct("<BBxxII")  # kind, type of the logits, number of the batch or chunk, rows
HELLO, BATCH, CHUNK, TAKEN = range(1, 5)
TYPES = (np.dtype("<f4"), np.dtype("<u2"))  # of logits on the wire: float32, and the bits of bfloat16
PLACES = 2  # of a batch's tokens, and of a chunk of logits


def inherited(number: int) -> tuple[int, int, int]:
    """Return the descriptors of a connection that this process inherited: memory, what it reads, what it writes to."""
    memory, reads, writes = (os.environ.pop(f"AUTORESEARCH_WIRE{number}_{w}") for w in ("MEMORY", "READS", "WRITES"))
    return int(memory), int(reads), int(writes)


class Gone(Exception):
    """Raised when the other process has left."""


class Garbled(Exception):
    """Raised for a message that no honest model's process sends."""


@dataclass(frozen=True)
class Sizes:
    """The sizes that both processes know of a task: rows of a full batch, tokens of a row, and the vocabulary."""

    rows: int
    length: int
    vocab: int
    chunk_bytes: int = CHUNK_BYTES

    @property
    def tokens(self) -> int:
        """Bytes of a place for tokens."""
        return 4 * self.rows * self.length

    @property
    def chunk(self) -> int:
        """Positions of a chunk of logits, at most."""
        return max(1, min(self.rows * self.length, self.chunk_bytes // (4 * self.vocab)))

    @property
    def logits(self) -> int:
        """Bytes of a place for logits."""
        return 4 * self.chunk * self.vocab

    def memory(self) -> int:
        """Bytes of the shared memory."""
        return PLACES * (self.tokens + self.logits)

    def chunks(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the first position and the number of positions of each chunk of a batch."""
        for start in range(0, rows * self.length, self.chunk):
            yield start, min(self.chunk, rows * self.length - start)


class Wire:
    """One process's end: messages in order, and the shared memory. Raises ValueError where that is too small."""

    def __init__(self, fds: Sequence[int], sizes: Sizes) -> None:
        self.memory_fd, self.reads, self.writes = fds
        self.sizes = sizes
        self.memory = mmap.mmap(self.memory_fd, sizes.memory())

    def send(self, kind: int, number: int = 0, rows: int = 0, type_code: int = 0) -> None:
        """Send a message. Raises Gone."""
        try:
            os.write(self.writes, MESSAGE.pack(kind, type_code, number, rows))
        except BrokenPipeError:
            raise Gone from None

    def receive(self) -> tuple[int, int, int, int]:
        """Wait for a message and return its kind, type code, number and rows. Raises Gone."""
        data = b""
        while len(data) < MESSAGE.size:
            piece = os.read(self.reads, MESSAGE.size - len(data))
            if not piece:
                raise Gone
            data += piece
        kind, type_code, number, rows = MESSAGE.unpack(data)
        return kind, type_code, number, rows

    def tokens(self, number: int, rows: int) -> np.ndarray:
        """Return the place of a batch's tokens, (rows, length) int32, in the shared memory."""
        start, count = number % PLACES * self.sizes.tokens, rows * self.sizes.length
        return np.frombuffer(self.memory, np.int32, count, start).reshape(rows, self.sizes.length)

    def logits(self, number: int, positions: int, kind: np.dtype) -> np.ndarray:
        """Return the place of a chunk of logits, (positions, vocab), in the shared memory."""
        start, count = PLACES * self.sizes.tokens + number % PLACES * self.sizes.logits, positions * self.sizes.vocab
        return np.frombuffer(self.memory, kind, count, start).reshape(positions, self.sizes.vocab)

    def close(self) -> None:
        os.close(self.writes)
        os.close(self.reads)


class JudgesEnd(Wire):
    """The judge's end: it asks for batches, up to PLACES ahead, and takes their logits in chunks."""

    def __init__(self, fds: Sequence[int], sizes: Sizes) -> None:
        super().__init__(fds, sizes)
        self.asked = self.taken = 0  # batches, chunks

    def wait(self) -> None:
        """Wait until the model's process has its model. Raises Gone and Garbled."""
        if self.receive()[0] != HELLO:
            raise Garbled("something else than its greeting")

    def ask(self, tokens: np.ndarray) -> None:
        """Ask for the logits of tokens (rows, length) int32. Raises Gone."""
        self.tokens(self.asked, len(tokens))[:] = tokens
        self.send(BATCH, self.asked, len(tokens))
        self.asked += 1

    def chunks(self, rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the chunks of the oldest batch: first position, and a copy of the logits, float32 or bfloat16's bits.

        Raises Gone, and Garbled for any message but the one that is due.
        """
        for start, positions in self.sizes.chunks(rows):
            kind, type_code, number, _ = self.receive()
            if kind != CHUNK or number != self.taken or type_code >= len(TYPES):
                raise Garbled(f"message {kind} of chunk {number}, type {type_code}, instead of chunk {self.taken}")
            copy = self.logits(number, positions, TYPES[type_code]).copy()
            self.send(TAKEN, number)
            self.taken += 1
            yield start, copy


class ModelsEnd(Wire):
    """The model's end: it takes batches of tokens and answers each with logits, in order."""

    def __init__(self, fds: Sequence[int], sizes: Sizes) -> None:
        super().__init__(fds, sizes)
        self.waiting: deque[tuple[int, int]] = deque()  # number and rows of the batches that were asked for
        self.sent, self.free = 0, PLACES  # chunks that were sent, and that may be sent

    def take(self, wait: bool) -> np.ndarray | None:
        """Return a copy of the next batch's tokens; None where none is asked for yet, unless `wait`. Raises Gone."""
        while not self.waiting and (wait or select.select([self.reads], [], [], 0)[0]):
            self._hear()
        if not self.waiting:
            return None
        number, rows = self.waiting.popleft()
        return self.tokens(number, rows).copy()

    def answer(self, logits: np.ndarray) -> None:
        """Send the logits of the oldest batch, (positions, vocab) float32 or the bits of bfloat16. Raises Gone."""
        rows = len(logits) // self.sizes.length
        for start, positions in self.sizes.chunks(rows):
            while self.sent == self.free:
                self._hear()
            self.logits(self.sent, positions, logits.dtype)[:] = logits[start : start + positions]
            self.send(CHUNK, self.sent, type_code=TYPES.index(logits.dtype))
            self.sent += 1

    def _hear(self) -> None:
        kind, _, number, rows = self.receive()
        if kind == BATCH:
            self.waiting.append((number, rows))
        else:
            self.free += 1
