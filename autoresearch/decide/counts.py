"""Compute the noise of a rate from its counts of successes and trials, by the binomial distribution. No I/O.

A run of such a metric reports `successes` and `trials` among its figures (Measurement.figures), and its value is
proportional to their quotient, or to 1 minus it where the factor is a power of ten. Then the standard deviation of one
run need not be measured: that of the rate p is sqrt(p * (1 - p) / trials). Where runs of one version scatter more than
that, trials of one run depend on each other, and the larger figure is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median

from autoresearch.decide.interval import LEVEL, Interval
from autoresearch.metrics import Metric
from autoresearch.records import Measurement


@dataclass(frozen=True, slots=True)
class Proportion:
    """Successes and trials of some runs of one version, and the mean value that they make."""

    successes: float
    trials: float
    value: float
    scale: float | None = None  # of the value, per unit of the rate: 100 for percent; None where all values are 0

    @property
    def rate(self) -> float:
        """The rate, pulled towards a half by one success and one failure, so that 0 of 20 does not look certain."""
        return (self.successes + 1) / (self.trials + 2)

    @property
    def error(self) -> float:
        """The standard error of the rate."""
        return math.sqrt(self.rate * (1 - self.rate) / (self.trials + 2))

    def error_score(self, metric: Metric, scale: float | None = None) -> float:
        """Return the standard error of the score; `scale` serves where the values do not tell theirs."""
        error = self.error * (self.scale or scale or 1.0)
        return error / (abs(self.value) or 1.0) if metric.scale == "log" else error


def count(runs: Sequence[Measurement], metric: Metric) -> Proportion | None:
    """Add up the counts of runs; None where a run has none."""
    made = [(m.figures.get("successes"), m.figures.get("trials"), m.score) for m in runs]
    whole = [(s, n, metric.value(score)) for s, n, score in made if s is not None and n and score is not None]
    if not whole or len(whole) < len(made):
        return None
    successes, trials, values = zip(*whole, strict=True)
    scales = [scale for each in whole if (scale := _scale(*each)) is not None]
    return Proportion(sum(successes), sum(trials), fmean(values), median(scales) if scales else None)


def _scale(successes: float, trials: float, value: float) -> float | None:
    """Return by how much a value grows with the rate, None where it is 0: 10 of 100 trials, 90 (% failing) -> 100.

    A power of ten tells whether the value follows the successes or the failures; without one, the successes.
    """
    rate = successes / trials
    found = [abs(value / part) for part in (rate, 1 - rate) if part > 0 and value]
    tens = [ratio for ratio in found if math.isclose(ratio, 10.0 ** round(math.log10(ratio)), rel_tol=1e-6)]
    return max(tens) if tens else found[0] if found else None


def sigma(runs: Sequence[Measurement], metric: Metric, others: Sequence[Measurement] = ()) -> float | None:
    """Return the binomial standard deviation of one run's score, by the mean rate and size of these runs.

    `others` are runs of other versions, which tell the value's scale where no run here has a success.
    12 and 8 successes in 100 trials each: the rate is 0.1, and sigma is 0.03 on a linear scale, 0.3 on a log scale.
    """
    found = count(runs, metric)
    if found is None:
        return None
    return found.error_score(metric, found.scale or _known_scale(others, metric)) * math.sqrt(len(runs))


def _known_scale(runs: Sequence[Measurement], metric: Metric) -> float | None:
    """Return the value's scale by runs of which some may have failed; None where none tells it."""
    known = count([m for m in runs if m.ok], metric)
    return known.scale if known else None


def difference_error(
    baseline: Proportion, winner: Proportion, metric: Metric, others: Sequence[Measurement] = ()
) -> float:
    """Return the standard error of the difference of two versions' scores; `others` serve as in `sigma`."""
    scale = baseline.scale or winner.scale or _known_scale(others, metric)
    return math.hypot(baseline.error_score(metric, scale), winner.error_score(metric, scale))


def interval(
    baseline: Proportion,
    winner: Proportion,
    metric: Metric,
    rounds: int,
    level: float = LEVEL,
    others: Sequence[Measurement] = (),
) -> Interval:
    """Compute the interval of the gain from the counts: Agresti and Caffo's (2000) for a difference of two rates."""
    gain = metric.score(baseline.value) - metric.score(winner.value)
    error = difference_error(baseline, winner, metric, others)
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    method = f"binomial, {baseline.trials:,.0f} and {winner.trials:,.0f} trials"
    return Interval(gain, gain - half, gain + half, level, rounds, method, metric)
