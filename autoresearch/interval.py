"""The morning's number: baseline against winner over fresh runs, with its confidence interval. Pure functions.

The search's own figure is optimistic: the winner is the best of many looks. Here nothing is selected: fresh seeds, the
confirm split, interleaved runs, and Welch's t interval, which needs no sigma from the night and lets the two files
scatter differently.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)

RUNS_EACH = 5
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """`baseline - winner` in bits per byte: positive is better. `low` and `high` hold it at `level`."""

    gain_bpb: float
    low_bpb: float
    high_bpb: float
    level: float
    df: float
    runs: tuple[int, int]  # of the baseline, of the winner

    @property
    def real(self) -> bool:
        return self.low_bpb > 0

    def __str__(self) -> str:
        n, m = self.runs
        return (
            f"{self.gain_bpb:.4f} bpb better, {self.level:.0%} interval {self.low_bpb:.4f} to {self.high_bpb:.4f}"
            f" (Welch's t, {n} and {m} interleaved runs, fresh seeds)"
        )


def welch(baseline: Sequence[float], winner: Sequence[float], level: float = LEVEL) -> Interval:
    """Welch's interval for the difference of means; the degrees of freedom are Welch and Satterthwaite's.

    Raises ValueError on fewer than two runs of either.
    """
    n, m = len(baseline), len(winner)
    if min(n, m) < 2:
        raise ValueError(f"an interval needs two runs of each, got {n} and {m}")
    a, b = variance(baseline) / n, variance(winner) / m
    gain = fmean(baseline) - fmean(winner)
    if a + b == 0.0:
        return Interval(gain, gain, gain, level, float(n + m - 2), (n, m))
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    half = t_quantile(0.5 + level / 2, df) * math.sqrt(a + b)
    return Interval(gain, gain - half, gain + half, level, df, (n, m))


def interleaved(names: Sequence[Name], runs_each: int, first_seed: int) -> list[tuple[Name, int]]:
    """The order of the runs, as (name, seed): one run of each a round, every other round backwards.

    >>> interleaved(["A", "B"], 2, 100)
    [('A', 100), ('B', 100), ('B', 101), ('A', 101)]

    So a machine that warms up steadily warms up for all of them alike. A round shares its seed: where the files read
    the same rows, the luck of the rows falls on all of them.
    """
    return [
        (name, first_seed + turn)
        for turn in range(runs_each)
        for name in (names if turn % 2 == 0 else tuple(reversed(names)))
    ]


def top(means: Mapping[Name, float], k: int = 3) -> list[Name]:
    """The k best by the search's estimates (bpb), best first: they are run again before one is called the winner."""
    return sorted(means, key=lambda name: means[name])[:k]


def winner(retests: Mapping[Name, Sequence[float]]) -> Name:
    """The best by fresh runs alone. Its runs here were selected too: validate with others."""
    return min(retests, key=lambda name: fmean(retests[name]))


# --- Student's t -----------------------------------------------------------------------------------------------------

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t. With t = sqrt(df) tan(a), the density is a power of cos(a): an easy integral."""
    angle = math.atan(abs(t) / math.sqrt(df))
    area = 0.5 * angle * float(_WEIGHTS @ np.cos(0.5 * angle * (_NODES + 1)) ** (df - 1))
    half = area * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(half, t)


@lru_cache(maxsize=256)
def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, for 0.5 <= p < 1 and df >= 1 (fractions too).

    >>> round(t_quantile(0.975, 8), 3)
    2.306
    """
    if not (0.5 <= p < 1 and df >= 1):
        raise ValueError(f"t_quantile needs 0.5 <= p < 1 and df >= 1, got p={p}, df={df}")
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return high
