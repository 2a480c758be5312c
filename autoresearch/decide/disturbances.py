"""Was a run disturbed by the machine? A disturbed run is repeated, not discarded: it says nothing about the idea.

Pure functions over Measurements, whose `machine_before` and `machine_after` are the machine's states around the run.
What a platform cannot tell is None there, and then nothing is concluded from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from autoresearch.decide.interval import t_quantile
from autoresearch.record.night import Night
from autoresearch.records import MachineState, Measurement
from autoresearch.system import machine

ATTEMPTS = 2  # repetitions of a disturbed run; the third result stands, since then it is how the machine is now
SLEPT_S = 2.0
SWAP_MB = 256.0  # growth during a run; a page swapped out is a training step that waited
TOLERANCE = 0.08  # relative speed: an idle machine stays within a few percent
HABIT = 0.995  # and on one that is always busy, inside the prediction bound (Student's t) of its own habit
NEEDED, REMEMBERED = 3, 6  # runs that say what is usual now: at least, and at most the latest


@dataclass(frozen=True, slots=True)
class Speed:
    """What is usual: the geometric mean, and how far off (in its logarithm) is still usual."""

    usual: float
    tolerance: float

    def off(self, value: float) -> float | None:
        """The relative difference where it is unusual. Speed(100, 0.08).off(80) -> -0.2, .off(95) -> None"""
        return value / self.usual - 1 if abs(math.log(value / self.usual)) > self.tolerance else None


@dataclass(frozen=True, slots=True)
class Expectation:
    """`tok_s` is of the very code that runs: None for new code, whose slowness is its own; `index` is the machine's."""

    tok_s: Speed | None = None
    index: Speed | None = None


def expectation(same_code: Sequence[Measurement], any_code: Sequence[Measurement]) -> Expectation:
    """From runs that count, oldest first: of the same source, and of any source on this machine tonight."""
    return Expectation(_speed([m.tok_s for m in same_code]), _speed([m.speed_index for m in any_code]))


def usual(night: Night, source_sha256: str, since: float) -> Expectation:
    """What the good runs since then (POSIX seconds) lead to expect of a source; a changed machine begins anew."""
    every = [(x, r.measurement) for x in night.experiments.values() for r in x.runs.values() if r.started >= since]
    known = [(x, m) for x, m in every if m is not None and m.failure is None]
    return expectation([m for x, m in known if x.source_sha256 == source_sha256], [m for _, m in known])


def contaminated(measurement: Measurement, expected: Expectation) -> str | None:
    """Why the run does not count, in one line for a person; None where nothing is known against it."""
    before, after = measurement.machine_before, measurement.machine_after
    return (
        (_changed(before, after) if before and after else None)
        or _off(measurement.speed_index, expected.index, "the machine")
        or _off(measurement.tok_s, expected.tok_s, "training")
    )


def _changed(before: MachineState, after: MachineState) -> str | None:
    return (
        _slept(machine.slept_s(before, after))
        or _went("power", before.power, after.power)
        or _went("low-power mode", before.low_power, after.low_power)
        or _went("thermal state", before.thermal, after.thermal)
        or _swapped(before.swap_mb, after.swap_mb)
    )


def _slept(asleep_s: float) -> str | None:
    return f"the machine slept for {asleep_s:.0f} s of the run" if asleep_s > SLEPT_S else None


def _went(what: str, before: str | bool | None, after: str | bool | None) -> str | None:
    if before is None or after is None or before == after:
        return None
    return f"{what} went from {_name(before)} to {_name(after)} during the run"


def _name(state: object) -> str:
    return {True: "on", False: "off"}[state] if isinstance(state, bool) else str(state)


def _swapped(before_mb: float | None, after_mb: float | None) -> str | None:
    if before_mb is None or after_mb is None or after_mb - before_mb <= SWAP_MB:
        return None
    return f"swap grew by {after_mb - before_mb:.0f} MB during the run"


def _off(value: float | None, speed: Speed | None, what: str) -> str | None:
    difference = speed.off(value) if value and speed else None
    if difference is None or speed is None:
        return None
    side = "slower" if difference < 0 else "faster"
    return f"{what} was {abs(difference):.0%} {side} than usual ({value:.4g} against {speed.usual:.4g})"


def _speed(values: Sequence[float | None]) -> Speed | None:
    """The habit of the latest values, by their logarithms; None for too few."""
    logs = [math.log(value) for value in values if value][-REMEMBERED:]
    n = len(logs)
    if n < NEEDED:
        return None
    bound = t_quantile(HABIT, n - 1) * stdev(logs) * math.sqrt(1 + 1 / n)
    return Speed(math.exp(fmean(logs)), max(TOLERANCE, bound))
