"""Detect runs that the machine disturbed: by sleep, a change of power or heat, swapping, or an unusual speed. No I/O.

A disturbed run says nothing about the idea, so the loop repeats it. Measurement.machine_before and machine_after are
the machine's states around a run; a field that is None (the platform cannot tell) never counts against the run.
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

ATTEMPTS = 2  # repetitions of a disturbed run; the third result stands, since this is what the machine is like now
SLEPT_S = 2.0  # of sleep during a run that are tolerated
SWAP_MB = 256.0  # growth of swap during a run that is tolerated; more means that training steps waited for pages
TOLERANCE = 0.08  # relative deviation of the speed that is always tolerated; an idle machine stays within a few percent
PREDICTION = 0.995  # level of the prediction bound (Student's t) of the usual scatter, which a busy machine may reach
NEEDED, REMEMBERED = 3, 6  # runs from which the usual speed is taken: at least three, and at most the latest six


@dataclass(frozen=True, slots=True)
class UsualSpeed:
    """The usual speed of one source or of the machine, and how far from it is still usual."""

    usual: float  # geometric mean
    tolerance: float  # of the logarithm

    def off(self, value: float) -> float | None:
        """Return the relative difference of an unusual value, and None for a usual one.

        >>> UsualSpeed(100, 0.08).off(75), UsualSpeed(100, 0.08).off(95)
        (-0.25, None)
        """
        return value / self.usual - 1 if abs(math.log(value / self.usual)) > self.tolerance else None


@dataclass(frozen=True, slots=True)
class Expectation:
    """Speeds to expect of a run. A speed is None where too few runs are known, as `tok_s` is for every new source."""

    tok_s: UsualSpeed | None = None  # training tokens a second, of the same source: a new one may be slow by itself
    index: UsualSpeed | None = None  # of the machine, by the fixed benchmark around each run


def expectation(same_code: Sequence[Measurement], any_code: Sequence[Measurement]) -> Expectation:
    """Take the usual speeds from runs of the same source and of any source, both oldest first."""
    return Expectation(_speed([m.tok_s for m in same_code]), _speed([m.speed_index for m in any_code]))


def usual(night: Night, source_sha256: str, since: float) -> Expectation:
    """Return the speed to expect of a source, from the runs without a failure since `since` (POSIX seconds).

    The loop moves `since` forward when the machine has become another one, so that older runs no longer count.
    """
    every = [(x, r) for x in night.experiments.values() for r in x.runs.values() if r.purpose != "newcomer"]
    known = [(x, m) for x, r in every if r.started >= since and (m := r.measurement) and m.failure is None]
    return expectation([m for x, m in known if x.source_sha256 == source_sha256], [m for _, m in known])


def disturbance(measurement: Measurement, expected: Expectation) -> str | None:
    """Say in one line what disturbed the run, e.g. "the machine slept for 31 s of the run"; None for a sound run."""
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


def _off(value: float | None, speed: UsualSpeed | None, what: str) -> str | None:
    difference = speed.off(value) if value and speed else None
    if difference is None or speed is None:
        return None
    side = "slower" if difference < 0 else "faster"
    return f"{what} was {abs(difference):.0%} {side} than usual ({value:.4g} against {speed.usual:.4g})"


def _speed(values: Sequence[float | None]) -> UsualSpeed | None:
    """Return the usual speed by the latest values, or None for too few.

    The tolerance is the prediction bound of the next value's logarithm: t * stdev * sqrt(1 + 1/n), at least TOLERANCE.
    """
    logs = [math.log(value) for value in values if value][-REMEMBERED:]
    n = len(logs)
    if n < NEEDED:
        return None
    bound = t_quantile(PREDICTION, n - 1) * stdev(logs) * math.sqrt(1 + 1 / n)
    return UsualSpeed(math.exp(fmean(logs)), max(TOLERANCE, bound))
