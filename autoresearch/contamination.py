"""Was a run disturbed by the machine? A disturbed run is repeated, not discarded: it says nothing about the idea.

Pure functions over a Measurement. Of `Measurement.machine` they read, where present: `wall_s` (total_s by the wall
clock) and `start` and `end`, each with `on_battery`, `low_power` (bool), `thermal` (text, "nominal" when cool) and
`swap_mb`. What a platform cannot tell is absent, and then nothing is concluded from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from autoresearch.interval import t_quantile
from autoresearch.records import Measurement

ATTEMPTS = 2  # repetitions of a disturbed run; the third result stands, since then it is how the machine is now
SLEPT_S = 5.0  # between the wall clock and the monotonic one, which stands still while the machine sleeps
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


def contaminated(measurement: Measurement, expected: Expectation) -> str | None:
    """Why the run does not count, in one line for a person; None where nothing is known against it."""
    machine = measurement.machine
    start, end = machine.get("start", {}), machine.get("end", {})
    return (
        _slept(machine.get("wall_s"), measurement.total_s)
        or _power(start, end)
        or _swapped(start.get("swap_mb"), end.get("swap_mb"))
        or _off(measurement.speed_index, expected.index, "the machine")
        or _off(measurement.tok_s, expected.tok_s, "training")
    )


def _slept(wall_s: float | None, total_s: float) -> str | None:
    if wall_s is None or abs(wall_s - total_s) <= SLEPT_S:
        return None
    if wall_s > total_s:
        return f"the machine slept for {wall_s - total_s:.0f} s of the run (or its clock was set)"
    return f"the wall clock was set back by {total_s - wall_s:.0f} s during the run"


def _power(start: Mapping[str, Any], end: Mapping[str, Any]) -> str | None:
    for key, on, off in (
        ("on_battery", "went on battery", "came back to mains power"),
        ("low_power", "entered low-power mode", "left low-power mode"),
    ):
        if key in start and key in end and start[key] != end[key]:
            return f"the machine {on if end[key] else off} during the run"
    before, after = start.get("thermal"), end.get("thermal")
    return (
        f"thermal state went from {before} to {after} during the run" if after and before and after != before else None
    )


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
