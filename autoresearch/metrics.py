"""Define the number that a task is judged by, and how its values and differences are written. No I/O.

A *value* is the number as a person reads it: 12.5 ms, an accuracy of 0.91, a val_bpb of 1.29. A *score* is what the
statistics use: lower is always better, and for a metric whose scale is "log" it is the natural logarithm, so that a
difference of scores is a ratio of values. For val_bpb the two are the same number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]
Scale = Literal["linear", "log"]
# Who says the number. judged: a process that never runs the candidate's code; clocked: the loop, which measures time,
# memory or size itself; reported: the candidate's own process, which can print any number.
Trust = Literal["judged", "clocked", "reported"]
# How the values of one unchanged version differ. noisy: by a sigma that is measured; exact: not at all; counts: as a
# number of successes in a number of trials does.
Scatter = Literal["noisy", "exact", "counts"]

SMALLEST, LARGEST = 1e-100, 1e100  # sizes of a number other than 0 whose powers a float holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The number that a task is judged by."""

    name: str = "val_bpb"
    unit: str = "bpb"  # "" for a plain number
    direction: Direction = "lower"
    scale: Scale = "linear"
    trust: Trust = "judged"
    scatter: Scatter = "noisy"
    min_gain: float = 0.0  # in scores; a smaller gain is not worth a change
    decimals: int | None = None  # of a value; None: five significant digits

    # --- values and scores ---

    def score(self, value: float) -> float:
        """Return the score of a value. Raises ValueError for a value that has none: NaN, or 0 on a log scale.

        On a linear scale that is also one above LARGEST, and one below SMALLEST is 0: their squares are no floats.
        >>> Metric(name="accuracy", direction="higher").score(0.75)
        -0.75
        """
        if not math.isfinite(value) or (self.scale == "log" and value <= 0):
            needs = ", which needs a number above 0" if self.scale == "log" else ""
            raise ValueError(f"{self.name} = {value:g} has no score on a {self.scale} scale{needs}")
        if self.scale == "linear" and abs(value) > LARGEST:
            raise ValueError(f"{self.name} = {value:g} has no score on a linear scale: give it in another unit")
        score = math.log(value) if self.scale == "log" else value if abs(value) >= SMALLEST else 0.0
        return score if self.direction == "lower" else 0.0 - score  # and not -0.0

    def value(self, score: float) -> float:
        """Return the value that has this score."""
        score = score if self.direction == "lower" else 0.0 - score
        return math.exp(score) if self.scale == "log" else score

    # --- text ---

    def shown(self, score: float) -> str:
        """Return the value of a score as text: "1.294526", "12.51 ms"."""
        text = self.number(score)
        return text if self.name == "val_bpb" or not self.unit else f"{text} {self.unit}"

    def number(self, score: float) -> str:
        """Return the value of a score without its unit."""
        value = self.value(score)
        return f"{value:.{self.decimals}f}" if self.decimals is not None else f"{value:,.5g}"

    def text(self, score: float) -> str:
        """Return the value of a score with the metric's name.

        >>> VAL_BPB.text(1.294526)
        'val_bpb 1.294526'
        """
        return f"{self.name} {self.shown(score)}"

    def size(self, difference: float) -> str:
        """Return the size of a difference of scores, without its sign: "0.0210 bpb", or "12.3%" on a log scale."""
        if self.scale == "log":
            return f"{100 * self._relative(abs(difference)):.1f}%"
        text = f"{abs(difference):.4f}" if self.decimals is not None else f"{abs(difference):.4g}"
        return f"{text} {self.unit}".rstrip()

    def signed(self, gain: float) -> str:
        """Return a gain with its sign, positive for better: "+0.0210 bpb", or "-3.1%" on a log scale."""
        if self.scale == "log":
            return f"{100 * self._relative(gain):+.1f}%"
        text = f"{gain:+.4f}" if self.decimals is not None else f"{gain:+.4g}"
        return f"{text} {self.unit}".rstrip()

    def sided(self, gain: float) -> str:
        """Return a gain in words: "0.0210 bpb better", or "3.1% worse" on a log scale."""
        return f"{self.signed(gain)[1:]} {'better' if gain >= 0 else 'worse'}"

    def percent(self, before: float, after: float) -> float | None:
        """Return by how many percent of the first score's value the second's is better; None where that is 0.

        >>> Metric(name="accuracy", direction="higher").percent(-0.5, -0.75)
        50.0
        """
        first = self.value(before)
        change = self.value(after) - first
        return None if first == 0 else 100 * (change if self.direction == "higher" else -change) / abs(first)

    def _relative(self, gain: float) -> float:
        """Return a gain in log scores as a part of the value: of time saved, or of throughput added."""
        return -math.expm1(-gain) if self.direction == "lower" else math.expm1(gain)


VAL_BPB = Metric(decimals=6)
