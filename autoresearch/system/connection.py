"""Connect two children by shared memory and a pair of pipes, which both inherit as file descriptors.

Neither end has a name in a file system, so that only the two children that inherit it can reach it, also from inside
a sandbox.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class End:
    """One end of a connection: the shared memory, what this end reads from, and what it writes to."""

    memory: int
    reads: int
    writes: int
    is_open: bool = True

    def named(self, name: str) -> dict[str, int]:
        """Return the descriptors by the variables that tell a child their numbers: {"NAME_MEMORY": 5, ...}."""
        return {f"{name}_MEMORY": self.memory, f"{name}_READS": self.reads, f"{name}_WRITES": self.writes}

    def close(self) -> None:
        """Close the end in this process, once."""
        if self.is_open:
            self.is_open = False
            for fd in (self.memory, self.reads, self.writes):
                os.close(fd)


@contextlib.contextmanager
def connection(size: int) -> Iterator[tuple[End, End]]:
    """Yield the two ends of a new connection with `size` bytes of memory. The block's end closes what is still open.

    Memory that is never touched takes no room.

    An end that no process has any more reads as ended at the other one. So the caller closes an end once the child
    that inherits it is started.
    """
    memory = _memory(size)
    (a_reads, b_writes), (b_reads, a_writes) = os.pipe(), os.pipe()
    ends = End(memory, a_reads, a_writes), End(os.dup(memory), b_reads, b_writes)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def _memory(size: int) -> int:
    """Return the descriptor of a file that is in memory or, where the system has no such files, has no name.

    Where there are seals, neither child can change its size: a shortened one would kill the other child.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    memory = os.memfd_create("autoresearch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memory
