"""Measure how much of the CPU other programs use, and name them: a busy machine makes every run slower and noisier."""

from __future__ import annotations

import contextlib
import resource
import time
from collections import Counter
from dataclasses import dataclass

from autoresearch.formats import counted, printable
from autoresearch.records import MachineState
from autoresearch.system import family

LOOK_S = 0.5  # between the two looks of `look`
BUSY = 0.25  # of the cores, from which on measurements suffer
SHOWN = 3  # programs
LEAST_CORES = 0.05  # of a program that is named
ADVICE = "Quit programs that you do not need, or start when the machine is quiet"
IDLE = ("idle", "iowait", "guest", "guest_nice")  # of psutil.cpu_times; the last two are counted in user and nice


@dataclass(frozen=True, slots=True)
class Load:
    """Cores that other programs use, of how many there are, and the busiest programs with theirs."""

    cores: float
    of: int
    programs: tuple[tuple[str, float], ...] = ()  # (name, cores), the busiest first

    @property
    def busy(self) -> bool:
        return self.cores >= BUSY * self.of

    def describe(self) -> str:
        """Return a line for a person.

        Load(1.9, 2, (("clang", 1.5),)).describe() -> "other programs use 1.9 of 2 cores (clang 1.5)"
        """
        who = ", ".join(f"{printable(name)} {cores:.1f}" for name, cores in self.programs)
        return f"other programs use {self.cores:.1f} of {counted(self.of, 'core')}" + (f" ({who})" if who else "")


def look(seconds: float = LOOK_S) -> Load:
    """Watch the machine for some seconds and return what other programs use."""
    import psutil

    start, before, programs = time.monotonic(), others_cpu_s(), _programs()
    time.sleep(seconds)
    took = time.monotonic() - start
    cores = max(0.0, others_cpu_s() - before) / took
    used: dict[str, float] = {}
    for pid, (name, cpu_s) in _programs().items():
        used[name] = used.get(name, 0.0) + cpu_s - programs.get(pid, (name, cpu_s))[1]
    busiest = [(name, cpu_s / took) for name, cpu_s in Counter(used).most_common(SHOWN) if cpu_s / took >= LEAST_CORES]
    return Load(cores, psutil.cpu_count() or 1, tuple(busiest))


def others_cpu_s() -> float:
    """Return the CPU seconds since boot of all programs but this process and its finished children.

    It takes microseconds. The difference of two values counts, taken while no child of this process is at work.
    """
    import psutil

    times = psutil.cpu_times()._asdict()
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    reaped_s = children.ru_utime + children.ru_stime  # lacks what ran below bubblewrap, which does not wait for it
    busy = sum(seconds for name, seconds in times.items() if name not in IDLE)
    return float(busy - (own.ru_utime + own.ru_stime) - max(reaped_s, sum(family.ended)))


def share(before: MachineState, after: MachineState) -> float | None:
    """Return the share of the CPU that other programs used between two samples, 0 to 1; None where it is not known."""
    if before.others_cpu_s is None or after.others_cpu_s is None or after.monotonic <= before.monotonic:
        return None
    return min(1.0, max(0.0, (after.others_cpu_s - before.others_cpu_s) / (after.monotonic - before.monotonic)))


def _programs() -> dict[int, tuple[str, float]]:
    """Return names and CPU seconds of running programs by id, without this one; others' are hidden on some systems."""
    import psutil

    found: dict[int, tuple[str, float]] = {}
    for one in psutil.process_iter(["pid", "name", "cpu_times"]):
        with contextlib.suppress(psutil.Error, TypeError):
            times = one.info["cpu_times"]
            if times is not None and one.pid != psutil.Process().pid:
                found[one.pid] = (str(one.info["name"]), float(times.user + times.system))
    return found
