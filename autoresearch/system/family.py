"""Look at and signal a process together with its descendants. A process that has ended in between is not an error."""

from __future__ import annotations

import contextlib
import os
import signal
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


def rss_bytes(pid: int) -> int:
    """Return the resident memory of the family; 0 when it has ended."""
    import psutil

    held = 0
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            held += int(process.memory_info().rss)
    return held


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
