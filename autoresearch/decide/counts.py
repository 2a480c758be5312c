"""Compute the noise of a rate from its counts of successes and trials, by the binomial distribution. No I/O.

A run of such a metric reports `successes` and `trials` among its figures (Measurement.figures), and its value is
proportional to their quotient, or to 1 minus it. Then the standard deviation of one run need not be measured: that of
the rate p is sqrt(p * (1 - p) / trials). Where runs of one version scatter more than that, trials of one run depend on
each other, and the larger figure is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from autoresearch.decide.interval import LEVEL, Interval
from autoresearch.metrics import Metric
from autoresearch.records import Measurement


@dataclass(frozen=True, slots=True)
class Proportion:
    """Successes and trials of some runs of one version, and the mean value that they make."""

    successes: float
    trials: float
    value: float

    @property
    def rate(self) -> float:
        """The rate, pulled towards a half by one success and one failure, so that 0 of 20 does not look certain."""
        return (self.successes + 1) / (self.trials + 2)

    @property
    def error(self) -> float:
        """The standard error of the rate."""
        return math.sqrt(self.rate * (1 - self.rate) / (self.trials + 2))

    def error_score(self, metric: Metric) -> float:
        """Return the standard error of the score."""
        rate = self.successes / self.trials
        if math.isclose(self.value, 1 - rate, rel_tol=1e-6) and self.value:  # a rate of failures
            scale = 1.0
        else:
            scale = self.value / rate if rate and self.value else 1.0
        return self.error * abs(scale) / (abs(self.value) or 1.0) if metric.scale == "log" else self.error * abs(scale)


def count(runs: Sequence[Measurement], metric: Metric) -> Proportion | None:
    """Add up the counts of runs; None where a run has none."""
    made = [(m.figures.get("successes"), m.figures.get("trials"), m.score) for m in runs]
    whole = [(s, n, metric.value(score)) for s, n, score in made if s is not None and n and score is not None]
    if not whole or len(whole) < len(made):
        return None
    successes, trials, values = zip(*whole, strict=True)
    return Proportion(sum(successes), sum(trials), fmean(values))


def sigma(runs: Sequence[Measurement], metric: Metric) -> float | None:
    """Return the binomial standard deviation of one run's score, by the mean rate and size of these runs.

    12 and 8 successes in 100 trials each: the rate is 0.1, and sigma is 0.03 on a linear scale, 0.3 on a log scale.
    """
    found = count(runs, metric)
    return found.error_score(metric) * math.sqrt(len(runs)) if found else None


def interval(baseline: Proportion, winner: Proportion, metric: Metric, rounds: int, level: float = LEVEL) -> Interval:
    """Compute the interval of the gain from the counts: Agresti and Caffo's (2000) for a difference of two rates."""
    gain = metric.score(baseline.value) - metric.score(winner.value)
    error = math.hypot(baseline.error_score(metric), winner.error_score(metric))
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    method = f"binomial, {baseline.trials:,.0f} and {winner.trials:,.0f} trials"
    return Interval(gain, gain - half, gain + half, level, rounds, method, metric)
