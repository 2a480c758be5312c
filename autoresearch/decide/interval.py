"""The morning's number: baseline against winner over fresh runs, with its confidence interval. Pure functions.

The search's own figure is optimistic: the winner is the best of many looks. Here nothing is selected: fresh seeds, the
test split, interleaved runs, and a paired t interval: of the usual ones the only one that keeps its stated rate when
the machine drifts, when the two files scatter differently, and when neither does (benchmarks/night_statistics.py).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)

ROUNDS = 5  # at least; each is one run of the baseline and one of the winner
RETESTS = 2  # of each of the top three, before one of them is validated
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """`baseline - winner` in bits per byte: positive is better. `low` to `high` holds it at `level`."""

    gain_bpb: float
    low_bpb: float
    high_bpb: float
    level: float
    rounds: int

    @property
    def real(self) -> bool:
        return self.low_bpb > 0

    def __str__(self) -> str:
        side = "better" if self.gain_bpb >= 0 else "worse"
        bounds = f"{self.level:.0%} interval {self.low_bpb:+.4f} to {self.high_bpb:+.4f}"
        return (
            f"{abs(self.gain_bpb):.4f} bpb {side}, {bounds} (paired t, {self.rounds} interleaved rounds, fresh seeds)"
        )


def paired(rounds: Sequence[tuple[float, float]], level: float = LEVEL) -> Interval:
    """Student's t interval for the mean of baseline - winner, from (baseline, winner) of each round.

    A round's two runs stand next to each other, so what the machine does in an hour cancels. A round that lost a run is
    left out. Raises ValueError on fewer than two rounds or values that are not finite.
    """
    n = len(rounds)
    if n < 2 or not all(math.isfinite(value) for pair in rounds for value in pair):
        raise ValueError(f"an interval needs two whole rounds, got {list(rounds)}")
    differences = [baseline - winner for baseline, winner in rounds]
    gain = fmean(differences)
    half = t_quantile(0.5 + level / 2, n - 1) * stdev(differences) / math.sqrt(n)
    return Interval(gain, gain - half, gain + half, level, n)


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


def top(estimates: Mapping[Name, float], k: int = 3) -> list[Name]:
    """The k best by the search's estimates (bpb), best first: they run again before one is called the winner."""
    return sorted(estimates, key=lambda name: estimates[name])[:k]


def winner(search: Mapping[Name, tuple[float, int]], retests: Mapping[Name, Sequence[float]]) -> Name:
    """The best of the re-tested, by the search's (mean, runs) and the fresh runs together.

    Its figure here was selected too: validate with other runs.
    """

    def together(name: Name) -> float:
        (mean, runs), fresh = search[name], retests[name]
        return (mean * runs + sum(fresh)) / (runs + len(fresh))

    return min(retests, key=together)


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
