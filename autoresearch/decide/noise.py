"""Estimate how much one run scatters: sigma from replicates, the share of the machine's speed in it, drift. No I/O.

Sigma is the standard deviation of val_bpb over runs of one unchanged source, each with a fresh seed and row order. It
is estimated from such replicates and never from the spread of candidates, which says how different the ideas are. Three
baseline runs alone determine sigma only to a factor between 0.5 and 6, so all later replicates are pooled in, and the
result is shrunk towards what earlier nights of this machine showed on this task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from autoresearch.decide.interval import t_quantile


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of one run, and how well it is known."""

    sigma_bpb: float
    df: float  # degrees of freedom of sigma


# The prior where nothing is known. Reported values lie between 0.002 (large accelerators) and 0.03 bpb (laptops); one
# degree of freedom spans that range, and the first three runs outweigh it.
DEFAULT = Noise(0.012, 1.0)
MOST_PRIOR_DF = 12.0  # of earlier nights at most, since other programs run beside each night
FLOOR_BPB = 1e-5  # of sigma, since replicates that agree to the last reported digit do not prove that it is zero


def pool(groups: Iterable[Sequence[float]], prior: Noise | None = None) -> Noise:
    """Estimate sigma from groups of replicates (bpb), each group one unchanged source, shrunk towards `prior`.

    Two runs 0.02 apart have a standard deviation of 0.0141 with one degree of freedom; a prior of 0.02 with one more
    makes their geometric mean:

    >>> pool([[1.00, 1.02]], Noise(0.02, 1))
    Noise(sigma_bpb=0.0168..., df=2)

    Pass only runs that were not selected for their value (`Estimate.unselected`): a lucky first run and its repetition
    are further apart than sigma. The average is over log sigma, because a prior that is ten times too large is then
    outweighed by three runs; an average of variances would need a hundred.
    """
    squares, df = 0.0, 0
    for runs in groups:
        if len(runs) >= 2:
            mean = fmean(runs)
            squares += sum((run - mean) ** 2 for run in runs)
            df += len(runs) - 1
    return _shrunk(squares, df, _prior(prior))


def _prior(known: Noise | None) -> Noise:
    return DEFAULT if known is None else Noise(known.sigma_bpb, min(known.df, MOST_PRIOR_DF))


def _shrunk(squares: float, df: int, prior: Noise) -> Noise:
    """Average the logarithms of the measured sigma, sqrt(squares / df), and the prior's, weighted by their df."""
    if df == 0:
        return prior
    measured = max(math.sqrt(max(squares, 0.0) / df), FLOOR_BPB)
    log_sigma = (df * math.log(measured) + prior.df * math.log(prior.sigma_bpb)) / (df + prior.df)
    return Noise(math.exp(log_sigma), df + prior.df)


# --- the machine's speed of the moment -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeedFit:
    """Regression of val_bpb on log(speed index) over replicates: what a faster machine alone is worth.

    The speed index is the machine's speed around a run by a fixed benchmark (Measurement.speed_index).
    """

    slope_bpb: float  # per unit of log(speed index); negative: faster is better
    usual: float  # geometric mean of the speed index
    raw_sigma_bpb: float
    adjusted_sigma_bpb: float
    df: int  # of the adjusted sigma

    def __str__(self) -> str:
        return (
            f"replicates scatter by {self.raw_sigma_bpb:.4f} bpb as measured, and by {self.adjusted_sigma_bpb:.4f} with"
            " the machine's speed of the moment taken out"
        )

    def adjust(self, bpb: float, speed_index: float) -> float:
        """Return what the run would have given at the usual speed.

        >>> SpeedFit(-0.2, 1.0, 0.01, 0.005, 8).adjust(1.50, 0.9)  # 10% slow: 1.50 - 0.2 * 0.105
        1.478...
        """
        return bpb - self.slope_bpb * math.log(speed_index / self.usual)


SPEED_DF = 6  # degrees of freedom; with fewer, a smaller spread may be chance
SPEED_T = 2.5  # standard errors by which the slope has to be negative


def speed_fit(groups: Iterable[Sequence[tuple[float, float]]]) -> SpeedFit | None:
    """Fit the slope to groups of (speed index, bpb), each group one unchanged source; None where it does not help.

    It helps when the slope is negative by 2.5 standard errors and sigma is smaller with it than without. The speed is
    never the candidate's own tokens per second, since a slow candidate must not be excused.
    """
    kept = [np.asarray(group, dtype=float) for group in groups if len(group) >= 2]
    df = sum(len(group) - 1 for group in kept)
    if df < SPEED_DF:
        return None
    speed = np.concatenate([np.log(group[:, 0]) - np.log(group[:, 0]).mean() for group in kept])
    bpb = np.concatenate([group[:, 1] - group[:, 1].mean() for group in kept])
    spread = float(speed @ speed)
    if spread == 0.0:
        return None
    slope = float(speed @ bpb) / spread
    raw = math.sqrt(float(bpb @ bpb) / df)
    rest = bpb - slope * speed
    adjusted = max(math.sqrt(float(rest @ rest) / (df - 1)), FLOOR_BPB)
    if slope > -SPEED_T * adjusted / math.sqrt(spread) or adjusted >= raw:
        return None
    usual = math.exp(float(np.concatenate([np.log(group[:, 0]) for group in kept]).mean()))
    return SpeedFit(slope, usual, raw, adjusted, df - 1)


# --- drift -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drift:
    """A change of the machine's level: from `since` on, every source's val_bpb is higher by `shift_bpb`."""

    since: float  # in the unit of the given times; runs at or after it belong to the new level
    shift_bpb: float
    z: float


DRIFT_P = 0.003  # significance of one test; a night tests a dozen times, and 1 steady night in 16 gives a false alarm


def drift(groups: Iterable[Sequence[tuple[float, float]]], prior: Noise | None = None) -> Drift | None:
    """Find a change of level in groups of (time, bpb), each group the runs of one unchanged source; None without one.

    One step is fitted, common to all groups, at the time where it explains most; a slow drift shows as a step in its
    middle. It counts when it is significant (Student's t) against the scatter that remains, shrunk towards `prior`.

    Pass only runs that were not selected for their value: a lucky first run followed by ordinary ones looks like a
    machine that gets worse. Estimates are afterwards made from the runs at or after `since`.
    """
    prior = _prior(prior)
    kept = [np.asarray(group, dtype=float) for group in groups if len(group) >= 2]
    df = sum(len(group) - 1 for group in kept) - 1
    if df < 1:
        return None
    times = np.concatenate([group[:, 0] for group in kept])
    bpb = np.concatenate([group[:, 1] - group[:, 1].mean() for group in kept])
    cuts = np.unique(times)[1:]
    after = np.concatenate([late - late.mean(0) for late in (group[:, :1] >= cuts for group in kept)])  # (runs, cuts)
    leverage = (after**2).sum(0)
    cuts, after, leverage = cuts[leverage > 0], after[:, leverage > 0], leverage[leverage > 0]
    if not len(cuts):
        return None
    explained = after.T @ bpb / np.sqrt(leverage)
    best = int(np.abs(explained).argmax())
    noise = _shrunk(float(bpb @ bpb - explained[best] ** 2), df, prior)
    z = float(explained[best]) / noise.sigma_bpb
    if abs(z) < t_quantile(1 - DRIFT_P / 2, noise.df):
        return None
    return Drift(float(cuts[best]), float(explained[best] / math.sqrt(leverage[best])), z)
