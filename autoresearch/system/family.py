"""Look at and signal a process together with its descendants. A process that has ended in between is not an error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

ended: list[float] = []  # seconds of processor time of each child of this process that has ended, as last read


def family(pid: int) -> list[psutil.Process]:
    """Return the process and its descendants; nothing when it has ended."""
    import psutil

    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def held_bytes(pid: int) -> int:
    """Return the memory that the family holds; 0 when it has ended.

    It is the resident memory, and on macOS the footprint, which Activity Monitor shows as well: there the buffers of
    the GPU and compressed pages are not resident.
    """
    import psutil

    held = 0
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            found = _footprint(process.pid) if sys.platform == "darwin" else None
            held += int(process.memory_info().rss) if found is None else found
    return held


RUSAGE_WORDS, FOOTPRINT_WORD = 12, 9  # of rusage_info_v0 in <sys/resource.h>, in 64-bit words


def _footprint(pid: int) -> int | None:
    """Ask macOS for a process's footprint in bytes; None for one that has ended or is another user's."""
    words = (ctypes.c_uint64 * RUSAGE_WORDS)()
    failed = ctypes.CDLL(None).proc_pid_rusage(pid, 0, words)
    return None if failed else int(words[FOOTPRINT_WORD])


def cpu_s(pid: int) -> float:
    """Return the processor time, in seconds, that the living members of the family have used; 0.0 when all ended."""
    import psutil

    used = 0.0
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that `pid` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_each(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
