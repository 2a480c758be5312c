"""Estimate how much one run scatters: sigma from replicates, the share of the machine's speed in it, drift. No I/O.

Sigma is the standard deviation of the score over runs of one unchanged source, each with a fresh seed and row order. It
is estimated from such replicates and never from the spread of candidates, which says how different the ideas are. All
replicates of a night are pooled, and shrunk towards what earlier nights of this machine showed on this task.

Three baseline runs alone, two degrees of freedom, determine sigma only to a factor between 0.5 and 6. Nothing is
assumed beside them, since a guess is right for one unit and one machine at most: a guess of 0.012 where the truth was
0.055 made the loop believe 0.0153. Instead `Noise.df` says how well sigma is known, and the keep rule asks for more
where it is known badly (Student's t). benchmarks/figures/statistics.md has the simulated nights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoresearch.decide.interval import t_quantile
from autoresearch.metrics import Metric

WELL_KNOWN_DF = 1e6  # degrees of freedom of a sigma that was not estimated


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of one run, and how well it is known."""

    sigma_score: float  # 0.0: the runs of one version do not differ at all
    df: float  # degrees of freedom of sigma

    @property
    def exact(self) -> bool:
        """Whether the runs of one version all give the same score."""
        return self.sigma_score == 0.0


EXACT = Noise(0.0, WELL_KNOWN_DF)
UNMEASURED = 0.01  # of the value: sigma before any version ran twice; no verdict is made with it
MOST_PRIOR_DF = 12.0  # of earlier nights at most, since other programs run beside each night
FLOOR = 1e-5  # of the value: replicates that agree by chance do not prove that sigma is zero


def pool(groups: Iterable[Sequence[float]], prior: Noise | None = None, value: float = 1.0) -> Noise:
    """Estimate sigma from groups of replicates, each group the scores of one unchanged source.

    >>> pool([[1.00, 1.02]])
    Noise(sigma_score=0.0141..., df=1.0)

    With a prior (earlier nights' sigma) the logarithms are averaged, weighted by degrees of freedom: a prior that is
    ten times too large is then outweighed by three runs, where an average of variances would need a hundred.

    >>> pool([[1.00, 1.02]], Noise(0.02, 1))
    Noise(sigma_score=0.0168..., df=2)

    Pass only runs that were not selected for their value (`Estimate.unselected`): a lucky first run and its repetition
    are further apart than sigma. `value` is the size of one score, or 1 on a log scale: without any replicates and
    without a prior sigma is 1% of it.
    """
    squares, df = 0.0, 0
    for runs in groups:
        if len(runs) >= 2:
            mean = fmean(runs)
            squares += sum((run - mean) ** 2 for run in runs)
            df += len(runs) - 1
    return _shrunk(squares, df, prior, abs(value))


def _shrunk(squares: float, df: int, prior: Noise | None, value: float = 1.0) -> Noise:
    """Average the logarithms of the measured sigma, sqrt(squares / df), and the prior's, weighted by their df."""
    prior_df = min(prior.df, MOST_PRIOR_DF) if prior is not None else 0.0
    if df == 0:
        return Noise(prior.sigma_score, prior_df) if prior is not None else Noise(UNMEASURED * (value or 1.0), 1.0)
    measured = max(math.sqrt(max(squares, 0.0) / df), FLOOR * (value or 1.0))
    if prior is None:
        return Noise(measured, float(df))
    log_sigma = (df * math.log(measured) + prior_df * math.log(prior.sigma_score)) / (df + prior_df)
    return Noise(math.exp(log_sigma), df + prior_df)


# --- the machine's speed of the moment -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeedFit:
    """Regression of the score on log(speed index) over replicates: what a faster machine alone is worth.

    The speed index is the machine's speed around a run by a fixed benchmark (Measurement.speed_index).
    """

    slope_score: float  # per unit of log(speed index); negative: faster is better
    usual: float  # geometric mean of the speed index
    raw_sigma_score: float
    adjusted_sigma_score: float
    df: int  # of the adjusted sigma

    def text(self, metric: Metric) -> str:
        """Say how much the replicates scatter without and with the correction."""
        return (
            f"replicates scatter by {metric.size(self.raw_sigma_score)} as measured, and by"
            f" {metric.size(self.adjusted_sigma_score)} with the machine's speed of the moment taken out"
        )

    def adjust(self, score: float, speed_index: float) -> float:
        """Return what the run would have given at the usual speed.

        >>> SpeedFit(-0.2, 1.0, 0.01, 0.005, 8).adjust(1.50, 0.9)  # 10% slow: 1.50 - 0.2 * 0.105
        1.478...
        """
        return score - self.slope_score * math.log(speed_index / self.usual)


SPEED_DF = 6  # degrees of freedom; with fewer, a smaller spread may be chance
SPEED_T = 2.5  # standard errors by which the slope has to be negative


def speed_fit(groups: Iterable[Sequence[tuple[float, float]]]) -> SpeedFit | None:
    """Fit the slope to groups of (speed index, score), each group one unchanged source; None where it does not help.

    It helps when the slope is negative by 2.5 standard errors and sigma is smaller with it than without. The speed is
    never the candidate's own tokens per second, since a slow candidate must not be excused.
    """
    kept = [[(math.log(speed), score) for speed, score in group] for group in groups if len(group) >= 2]
    df = sum(len(group) - 1 for group in kept)
    if df < SPEED_DF:
        return None
    speed = [x for group in kept for x in _centred([x for x, _ in group])]
    score = [y for group in kept for y in _centred([y for _, y in group])]
    spread = _dot(speed, speed)
    if spread == 0.0:
        return None
    slope = _dot(speed, score) / spread
    raw = math.sqrt(_dot(score, score) / df)
    rest = [y - slope * x for x, y in zip(speed, score, strict=True)]
    adjusted = math.sqrt(_dot(rest, rest) / (df - 1))
    if slope > -SPEED_T * adjusted / math.sqrt(spread) or adjusted >= raw:
        return None
    return SpeedFit(slope, math.exp(fmean(x for group in kept for x, _ in group)), raw, adjusted, df - 1)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the sum of products; loading NumPy for a night's few replicates would take `status` 100 ms."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _centred(values: Sequence[float]) -> list[float]:
    """Return the values less their mean."""
    mean = fmean(values)
    return [value - mean for value in values]


# --- drift -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drift:
    """A change of the machine's level: from `since` on, every source's score is higher by `shift_score`."""

    since: float  # in the unit of the given times; runs at or after it belong to the new level
    shift_score: float
    z: float


DRIFT_P = 0.003  # significance of one test; a night tests a dozen times, and 1 steady night in 16 gives a false alarm


def drift(groups: Iterable[Sequence[tuple[float, float]]], prior: Noise | None = None) -> Drift | None:
    """Find a change of level in groups of (time, score), each group the runs of one unchanged source; None without one.

    One step is fitted, common to all groups, at the time where it explains most; a slow drift shows as a step in its
    middle. It counts when it is significant (Student's t) against the scatter that remains, shrunk towards `prior`.

    Pass only runs that were not selected for their value: a lucky first run followed by ordinary ones looks like a
    machine that gets worse. Estimates are afterwards made from the runs at or after `since`.
    """
    kept = [group for group in groups if len(group) >= 2]
    df = sum(len(group) - 1 for group in kept) - 1
    if df < 1:
        return None
    centred = [list(zip([t for t, _ in g], _centred([y for _, y in g]), strict=True)) for g in kept]
    cuts = sorted({t for group in kept for t, _ in group})[1:]
    steps = [(cut, *_step(centred, cut)) for cut in cuts]
    found = max((step for step in steps if step[1] > 0), key=lambda step: round(abs(step[2]), 12), default=None)
    if found is None:
        return None
    cut, leverage, explained = found
    noise = _shrunk(sum(y * y for group in centred for _, y in group) - explained**2, df, prior)
    z = explained / noise.sigma_score
    if abs(z) < t_quantile(1 - DRIFT_P / 2, noise.df):
        return None
    return Drift(cut, explained / math.sqrt(leverage), z)


def _step(groups: Iterable[Sequence[tuple[float, float]]], cut: float) -> tuple[float, float]:
    """Return a step's leverage and what it explains, for a step at `cut` in groups of (time, score less its mean)."""
    leverage = change = 0.0
    for group in groups:
        later = [y for t, y in group if t >= cut]
        leverage += len(later) * (len(group) - len(later)) / len(group)
        change += sum(later)
    return leverage, change / math.sqrt(leverage) if leverage > 0 else 0.0
