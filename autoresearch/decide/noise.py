"""How much one run scatters: sigma from replicates, the machine's speed in it, and drift. Pure functions.

Sigma is the standard deviation of val_bpb over runs of one unchanged file, with a fresh seed and row order each time.
It is measured from replicates and never from proposals, whose spread says how different the ideas were. Three baseline
runs fix sigma only to a factor of 0.5 to 6, so every later replicate is pooled in and the result is shrunk towards what
this machine showed on this task before.
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
    """Sigma of one run, and the degrees of freedom behind it."""

    sigma_bpb: float
    df: float


# The field reports 0.002 (large accelerators) to 0.03 bpb (laptops). One degree of freedom spans that range, and the
# first three runs outweigh it.
DEFAULT = Noise(0.012, 1.0)
CACHED_DF = 12.0  # the most that earlier nights count for: the same machine has other company on another night
FLOOR_BPB = 1e-5  # below what val_bpb is reported to; replicates that agree to the last digit prove no sigma of zero


def pool(groups: Iterable[Sequence[float]], prior: Noise | None = None) -> Noise:
    """Sigma from groups of replicates (bpb), each group one unchanged file, shrunk towards `prior`.

    >>> pool([[1.00, 1.02]], Noise(0.02, 1)).df
    2.0

    Pass runs that were not selected for their value (`Estimate.unselected`): the spread of a lucky first run and its
    repetition is wider than sigma. The average is over log sigma, so that a prior ten times too large is outweighed
    by three runs, where an average of variances would need a hundred.
    """
    squares, df = 0.0, 0
    for runs in groups:
        if len(runs) >= 2:
            mean = fmean(runs)
            squares += sum((run - mean) ** 2 for run in runs)
            df += len(runs) - 1
    return _shrunk(squares, df, _prior(prior))


def _prior(cached: Noise | None) -> Noise:
    return DEFAULT if cached is None else Noise(cached.sigma_bpb, min(cached.df, CACHED_DF))


def _shrunk(squares: float, df: int, prior: Noise) -> Noise:
    """The measured sigma and the prior's, averaged over their degrees of freedom."""
    if df == 0:
        return prior
    measured = max(math.sqrt(max(squares, 0.0) / df), FLOOR_BPB)
    log_sigma = (df * math.log(measured) + prior.df * math.log(prior.sigma_bpb)) / (df + prior.df)
    return Noise(math.exp(log_sigma), df + prior.df)


# --- the machine's speed of the moment -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeedFit:
    """val_bpb against log(speed index) over replicates: what a faster machine alone is worth."""

    slope_bpb: float  # per unit of log(speed index); negative: faster is better
    usual: float  # speed index, in the unit that was given
    raw_sigma_bpb: float
    adjusted_sigma_bpb: float
    df: int  # of the adjusted sigma

    def __str__(self) -> str:
        return (
            f"replicates scatter by {self.raw_sigma_bpb:.4f} bpb as measured, and by {self.adjusted_sigma_bpb:.4f} with"
            " the machine's speed of the moment taken out"
        )

    def adjust(self, bpb: float, speed_index: float) -> float:
        """What the run would have given at the usual speed."""
        return bpb - self.slope_bpb * math.log(speed_index / self.usual)


SPEED_DF = 6  # fewer replicates cannot show that the spread shrinks
SPEED_T = 2.5  # the slope in its standard errors


def speed_fit(groups: Iterable[Sequence[tuple[float, float]]]) -> SpeedFit | None:
    """The slope from groups of (speed index, bpb), each one unchanged file; None where it does not clearly help.

    The index is the machine's own (a fixed micro-benchmark), never the candidate's tokens a second: being slow is its
    own fault. Accepted when the slope is negative by 2.5 standard errors and sigma is smaller with it than without.
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
    """The machine gives other values since `since`: every file's val_bpb moved by `shift_bpb` (positive: worse)."""

    since: float  # in the unit of the times that were given; runs at or after it belong to the new level
    shift_bpb: float
    z: float


DRIFT_P = 0.003  # of one look; a night looks a dozen times, and one steady night in sixteen gives a false alarm


def drift(groups: Iterable[Sequence[tuple[float, float]]], prior: Noise | None = None) -> Drift | None:
    """The likeliest change of level in controls (time, bpb), each group the runs of one unchanged file; None if none.

    One step is fitted, at the cut where it explains most; a slow drift shows as a step in its middle. Sigma is what
    scatter remains, shrunk towards `prior`. Pass runs that were not selected: a lucky first run followed by ordinary
    ones looks like a machine getting worse. Estimates are then made from runs at or after `since`.
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
