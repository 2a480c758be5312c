"""Estimate what a change gained over the incumbent of its time, with an interval from replicates. No I/O.

The method is Student's t on the difference of two means, with sigma pooled over all replicates of the night (noise.py):
the two or three runs of one change are too few for a variance of their own. Of many such intervals, about one in twenty
misses the true gain. A kept change was selected for a good first run; that run is left out, but the gain is still more
likely to be too high than too low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from autoresearch.decide import validation
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.interval import LEVEL, t_quantile
from autoresearch.decide.noise import Noise
from autoresearch.findings.finding import Effect
from autoresearch.record.night import Experiment, Night, RunRecord


def pooled(runs: Sequence[float], against: Sequence[float], noise: Noise, note: str = "") -> Effect:
    """Return the effect mean(against) - mean(runs) +- t * sigma * sqrt(1/n + 1/m), in scores.

    pooled([0.98, 1.00], [1.01, 1.03], Noise(0.01, 1e9)) -> gain 0.03, low 0.0104, high 0.0496

    Raises ValueError where one side has no runs.
    """
    if not runs or not against:
        raise ValueError(f"an effect needs runs on both sides, got {len(runs)} and {len(against)}")
    gain = fmean(against) - fmean(runs)
    error = noise.sigma_score * math.sqrt(1 / len(runs) + 1 / len(against))
    half = t_quantile(0.5 + LEVEL / 2, max(1.0, noise.df)) * error
    method = f"pooled sigma {noise.sigma_score:.4g}, t with {noise.df:.3g} degrees of freedom{note}"
    return Effect(gain, gain - half, gain + half, len(runs), len(against), method)


def of(night: Night, experiment: Experiment, now: Estimates) -> Effect | None:
    """Return the effect of an experiment over its parent; None where one of the two was never measured."""
    parent = None if experiment.parent_n is None else night.experiments[experiment.parent_n]
    if parent is None or experiment.role != "candidate":
        return None
    picked = experiment.verdict == "keep" and bool(_values(now, experiment.unselected))
    runs = _values(now, experiment.unselected if picked else _searched(experiment))
    against = _values(now, parent.unselected) or _values(now, _searched(parent))
    if not runs or not against:
        return None
    return pooled(runs, against, now.noise, ", without the run that was picked for its value" if picked else "")


def validated(night: Night) -> Effect | None:
    """Return the validated gain of the winner over the baseline; None before two whole rounds."""
    found = validation.validated(night)
    if found is None:
        return None
    method = "paired t, interleaved, fresh seeds, test split"
    return Effect(found.gain_score, found.low_score, found.high_score, found.rounds, found.rounds, method)


def _searched(experiment: Experiment) -> list[RunRecord]:
    return [run for run in experiment.runs.values() if run.searched]


def _values(now: Estimates, runs: Sequence[RunRecord]) -> list[float]:
    """Return the score of each measured run, corrected for the machine's speed and for a drift between the runs."""
    values = [(run, now.value(run)) for run in runs]
    return [value - _shift_score(now, run) for run, value in values if value is not None]


def _shift_score(now: Estimates, run: RunRecord) -> float:
    """Return how far the machine's values had drifted when the run began."""
    drift = now.drift
    return drift.shift_score if drift is not None and run.started >= drift.since else 0.0
