"""Compare two versions by the cases that a metric is made of: a paired test and an interval. No I/O.

A *case* is one question, ticket or query; both versions answer all of them, and each answer has a score. The versions
are compared case by case, so that a hard case counts for neither. Where a case is only right or wrong, that is
McNemar's test: among the cases on which the two differ, chance alone decides each like a coin. Otherwise it is
Student's t on the differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import NormalDist, fmean, stdev

from autoresearch.decide.interval import LEVEL, Interval, t_cdf, t_quantile
from autoresearch.metrics import Metric

Cases = tuple[Sequence[float], Sequence[float]]  # scores of the incumbent (or baseline) and the candidate, by case
MOST_COINS = 1000  # differing cases that are summed up one by one; the normal approximation serves for more


@dataclass(frozen=True, slots=True)
class CaseTest:
    """The outcome of a paired test over cases."""

    name: str  # "McNemar" or "paired t"
    p: float  # one-sided: the probability of so much better by chance alone
    cases: int

    def __str__(self) -> str:
        """Return the outcome in words: "McNemar p = 0.02 over 200 cases"."""
        p = f"p = {self.p:.2g}" if self.p >= 0.001 else "p < 0.001"
        return f"{self.name} {p} over {self.cases} cases"


def compare(cases: Cases) -> CaseTest:
    """Test whether the second version is better than the first.

    >>> print(compare(([0.0] * 7 + [1.0] * 3, [0.0] * 10)))  # three of ten cases better, none worse
    McNemar p = 0.062 over 10 cases

    Raises ValueError where the two do not have the same cases, or fewer than two.
    """
    differences = _differences(cases)
    n, step = len(differences), _step(cases)
    if step is not None:
        return CaseTest("McNemar", _coins(sum(d > 0 for d in differences), sum(d < 0 for d in differences)), n)
    mean, spread = fmean(differences), stdev(differences)
    if spread == 0.0:
        return CaseTest("paired t", 0.0 if mean > 0 else 1.0, n)
    return CaseTest("paired t", 1 - t_cdf(mean / spread * math.sqrt(n), n - 1), n)


def interval(cases: Cases, gain_score: float, metric: Metric, rounds: int = 1, level: float = LEVEL) -> Interval:
    """Compute the interval of a gain from the differences by case, as for cases drawn anew.

    For right or wrong it is Agresti and Min's (2005): half a case is added to each of the four cells, so that two
    versions which agree on all of 20 cases are not taken for equal. For other scores it is Student's t, with two cases
    more for the same reason where some agree. Where the metric is not a mean over cases (a macro-F1,
    say), the interval stands around its gain with the width that the cases give. That is right for cases which are the
    metric's jackknife pseudo-values (examples/routing/score.py), and too narrow for right or wrong.
    """
    differences = _differences(cases)
    n, mean, step = len(differences), fmean(differences), _step(cases)
    if step is not None:
        better, worse = ((sum(d * sign > 0 for d in differences) + 0.5) / (n + 2) for sign in (1, -1))
        centre = step * (better - worse)
        error = step * math.sqrt((better + worse - (better - worse) ** 2) / (n + 2))
        half = NormalDist().inv_cdf(0.5 + level / 2) * error
    else:
        more = _with_two_more(differences, cases[0])
        centre, half = mean, t_quantile(0.5 + level / 2, len(more) - 1) * stdev(more) / math.sqrt(len(more))
    centre += gain_score - mean
    low, high = min(centre - half, gain_score), max(centre + half, gain_score)
    return Interval(gain_score, low, high, level, rounds, f"paired by {n} cases", metric)


def _differences(cases: Cases) -> list[float]:
    first, second = cases
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"a paired test needs the same two cases or more, got {len(first)} and {len(second)}")
    return [a - b for a, b in zip(first, second, strict=True)]


def _step(cases: Cases) -> float | None:
    """Return the difference between right and wrong, or None where the cases have more than two scores."""
    found = sorted({*cases[0], *cases[1]})
    return found[-1] - found[0] if len(found) == 2 else 1.0 if len(found) == 1 else None


def _with_two_more(differences: list[float], first: Sequence[float]) -> list[float]:
    """Add one case better and one worse by the usual difference, where the two versions agree on some cases.

    Chance decides how many of few cases differ, and the scatter of those that do does not show it.
    """
    differing = [d for d in differences if d != 0.0]
    if len(differing) == len(differences):
        return differences
    usual = math.sqrt(fmean([d * d for d in differing])) if differing else stdev(first)
    return [*differences, usual, -usual]


def _coins(better: int, worse: int) -> float:
    """Return the mid-p of McNemar's test: P(more heads than `better`) + P(as many) / 2, of `better + worse` coins.

    >>> _coins(3, 0)
    0.0625
    """
    n = better + worse
    if n > MOST_COINS:
        return 1 - NormalDist().cdf((better - worse) / math.sqrt(n))
    more = sum(comb(n, k) for k in range(better + 1, n + 1))
    return float((2 * more + comb(n, better)) / 2 ** (n + 1))
