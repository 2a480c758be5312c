"""Compute the confidence interval of winner against baseline for the final validation. No I/O.

The search's own figure is optimistic, because the winner is the best of many candidates. The final validation selects
nothing: baseline and winner run afresh in turn, with fresh seeds, on the test split. The interval is Student's t on the
differences of paired runs: of the usual intervals it is the only one that covers the truth at its stated rate when the
machine drifts, when the two sources scatter differently, and when neither is so (benchmarks/simulations/night.py).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import fmean, stdev
from typing import TypeVar

from autoresearch.metrics import VAL_BPB, Metric

Name = TypeVar("Name", bound=Hashable)

ROUNDS = 5  # of a validation; each is one run of the baseline and one of the winner
RETESTS = 2  # further runs of each of the top three, before one of them is validated
LEVEL = 0.95  # of confidence


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of the gain `baseline - winner` in scores: positive is better."""

    gain_score: float
    low_score: float
    high_score: float
    level: float
    rounds: int  # of one run each
    method: str = ""  # how it was computed; empty: no interval is possible, and both bounds are the gain
    metric: Metric = VAL_BPB

    @property
    def real(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low_score > 0

    @property
    def bounds(self) -> str:
        """The bounds in words: "95% interval +0.0252 to +0.0748", or "exact: no interval"."""
        if not self.method:
            return "exact: no interval"
        unit, ends = f" {self.metric.unit}", (self.low_score, self.high_score)
        low, high = (self.metric.signed(end).removesuffix(unit) for end in ends)
        return f"{self.level:.0%} interval {low} to {high}"

    def __str__(self) -> str:
        method = f" ({self.method})" if self.method else ""
        return f"{self.metric.sided(self.gain_score)}, {self.bounds}{method}"


def paired(rounds: Sequence[tuple[float, float]], level: float = LEVEL, metric: Metric = VAL_BPB) -> Interval:
    """Compute Student's t interval for the mean of baseline - winner, from (baseline, winner) of each round.

    >>> print(paired([(1.60, 1.55), (1.62, 1.56), (1.61, 1.57)]))
    0.0500 bpb better, 95% interval +0.0252 to +0.0748 (paired t, 3 interleaved rounds, fresh seeds)

    The two runs of a round follow each other, so slow changes of the machine cancel in their difference. Pass whole
    rounds only. Raises ValueError on fewer than two rounds, and on values that are not finite.
    """
    n = len(rounds)
    if n < 2 or not all(math.isfinite(value) for pair in rounds for value in pair):
        raise ValueError(f"an interval needs two whole rounds, got {list(rounds)}")
    differences = [baseline - winner for baseline, winner in rounds]
    gain = fmean(differences)
    half = t_quantile(0.5 + level / 2, n - 1) * stdev(differences) / math.sqrt(n)
    return Interval(gain, gain - half, gain + half, level, n, f"paired t, {n} interleaved rounds, fresh seeds", metric)


def interleaved(names: Sequence[Name], runs_each: int, first_seed: int) -> list[tuple[Name, int]]:
    """Return the order of the runs as (name, seed): one run of each per round, every other round backwards.

    >>> interleaved(["A", "B"], 2, 100)
    [('A', 100), ('B', 100), ('B', 101), ('A', 101)]

    Because of the alternation a machine that slows down steadily slows down all of them alike. The runs of a round
    share a seed, so that sources which read the same rows are equally lucky with them.
    """
    return [
        (name, first_seed + turn)
        for turn in range(runs_each)
        for name in (names if turn % 2 == 0 else tuple(reversed(names)))
    ]


def top(estimates: Mapping[Name, float], k: int = 3) -> list[Name]:
    """Return the k best by the search's estimates (scores), best first; they run again before one is the winner.

    >>> top({1: 1.52, 2: 1.50, 3: 1.51}, 2)
    [2, 3]
    """
    return sorted(estimates, key=lambda name: estimates[name])[:k]


def winner(search: Mapping[Name, tuple[float, int]], retests: Mapping[Name, Sequence[float]]) -> Name:
    """Return the best of those that ran again, by the search's (mean, runs) and their fresh runs together.

    >>> winner({1: (1.50, 2), 2: (1.51, 2)}, {1: [1.54, 1.54], 2: [1.51, 1.51]})  # 1.52 against 1.51
    2

    The winner's mean was selected in its turn, so validate it with further runs.
    """

    def together(name: Name) -> float:
        (mean, runs), fresh = search[name], retests[name]
        return (mean * runs + sum(fresh)) / (runs + len(fresh))

    return min(retests, key=together)


# --- Student's t -----------------------------------------------------------------------------------------------------

NODES = 48  # of the quadrature


@cache
def _nodes() -> list[tuple[float, float]]:
    """Return the nodes and weights of Gauss-Legendre quadrature on [-1, 1]; loading NumPy for them takes 100 ms."""
    found = []
    for i in range(NODES):
        x, step = math.cos(math.pi * (i + 0.75) / (NODES + 0.5)), 1.0
        while abs(step) > 1e-15:
            before, value = 1.0, x
            for k in range(2, NODES + 1):
                before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
            slope = NODES * (x * value - before) / (x * x - 1)
            step = value / slope
            x -= step
        found.append((x, 2 / ((1 - x * x) * slope * slope)))
    return found


def t_cdf(t: float, df: float) -> float:
    """Return P(T <= t) for Student's t, by quadrature.

    With t = sqrt(df) tan(a) the density is proportional to cos(a)**(df - 1), which 48 nodes integrate to 1e-10.
    """
    angle = math.atan(abs(t) / math.sqrt(df))
    area = 0.5 * angle * sum(w * math.cos(0.5 * angle * (x + 1)) ** (df - 1) for x, w in _nodes())
    half = area * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(half, t)


@lru_cache(maxsize=256)
def t_quantile(p: float, df: float) -> float:
    """Return the t with P(T <= t) = p, for 0.5 <= p < 1 and df >= 1, which need not be whole.

    >>> round(t_quantile(0.975, 8), 3)
    2.306
    """
    if not (0.5 <= p < 1 and df >= 1):
        raise ValueError(f"t_quantile needs 0.5 <= p < 1 and df >= 1, got p={p}, df={df}")
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi * df)
    t = 0.0
    for _ in range(200):  # Newton's method comes from below, since the slope falls with t: in some ten steps
        step = (p - t_cdf(t, df)) / (scale * (1 + t * t / df) ** (-(df + 1) / 2))
        t += step
        if step <= 1e-13 * max(1.0, t):
            break
    return t
