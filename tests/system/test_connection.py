"""The two ends of a connection, as two children would have them."""

from __future__ import annotations

import os
import stat

import pytest

from autoresearch.system.connection import connection


def test_what_one_end_writes_the_other_reads_and_the_memory_is_the_same() -> None:
    with connection(4096) as (a, b):
        os.write(a.writes, b"to b")
        os.write(b.writes, b"to a")
        assert (os.read(b.reads, 9), os.read(a.reads, 9)) == (b"to b", b"to a")
        os.pwrite(a.memory, b"shared", 100)
        assert os.pread(b.memory, 6, 100) == b"shared"
        assert len({a.memory, a.reads, a.writes, b.memory, b.reads, b.writes}) == 6
        assert os.fstat(a.memory).st_nlink == 0 and stat.S_ISREG(os.fstat(a.memory).st_mode)  # it has no name


def test_a_closed_end_reads_as_ended_and_is_closed_once() -> None:
    with connection(4096) as (a, b):
        b.close()
        assert os.read(a.reads, 1) == b""
        with pytest.raises(BrokenPipeError):
            os.write(a.writes, b"x")
        reused = os.open(os.devnull, os.O_RDONLY)  # has the number of a descriptor that was closed
        b.close()
    os.close(reused)  # is still open
    assert not a.is_open


def test_a_child_is_told_its_numbers_by_name() -> None:
    with connection(4096) as (a, _):
        assert a.named("WIRE0") == {"WIRE0_MEMORY": a.memory, "WIRE0_READS": a.reads, "WIRE0_WRITES": a.writes}


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory, and no seals")
@pytest.mark.parametrize("size", [0, 100, 2**40])
def test_neither_child_can_change_the_size_of_the_memory(size: int) -> None:
    with connection(4096) as (a, b):
        for end in (a, b):
            with pytest.raises(PermissionError):
                os.ftruncate(end.memory, size)
        assert os.fstat(a.memory).st_size == 4096
