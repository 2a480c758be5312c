"""What a change gained over the incumbent of its time, with an interval from replicates. Pure.

The method is Student's t on the difference of two means, with the sigma that the whole night's replicates give together
(noise.py): a change has two or three runs of its own, too few for a variance of its own. Where many such intervals are
made, about one in twenty misses; and a kept change was chosen for looking good, so its gain is rather too high than too
low, though the run that was looked at first is left out.
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


def pooled(runs: Sequence[float], against: Sequence[float], noise: Noise, told: str = "") -> Effect:
    """mean(against) - mean(runs), in bits per byte, +- t * sigma * sqrt(1/n + 1/m).

    pooled([0.98, 1.00], [1.01, 1.03], Noise(0.01, 1e9)) -> gain 0.03, low 0.0104, high 0.0496

    Raises ValueError where one side has no runs.
    """
    if not runs or not against:
        raise ValueError(f"an effect needs runs on both sides, got {len(runs)} and {len(against)}")
    gain = fmean(against) - fmean(runs)
    error = noise.sigma_bpb * math.sqrt(1 / len(runs) + 1 / len(against))
    half = t_quantile(0.5 + LEVEL / 2, max(1.0, noise.df)) * error
    method = f"pooled sigma {noise.sigma_bpb:.4g} bpb, t with {noise.df:.3g} degrees of freedom{told}"
    return Effect(gain, gain - half, gain + half, len(runs), len(against), method)


def of(night: Night, x: Experiment, now: Estimates) -> Effect | None:
    """The effect of experiment `x` over its parent; None where one of them was never measured."""
    parent = None if x.parent_n is None else night.experiments[x.parent_n]
    if parent is None or x.role != "candidate":
        return None
    picked = x.verdict == "keep" and bool(_values(now, x.unselected))
    runs = _values(now, x.unselected if picked else _searched(x))
    against = _values(now, parent.unselected) or _values(now, _searched(parent))
    if not runs or not against:
        return None
    return pooled(runs, against, now.noise, ", without the run that was picked for its value" if picked else "")


def validated(night: Night) -> Effect | None:
    """Baseline against the best on fresh seeds and the test split; None before two whole rounds."""
    found = validation.validated(night)
    if found is None:
        return None
    method = "paired t, interleaved, fresh seeds, test split"
    return Effect(found.gain_bpb, found.low_bpb, found.high_bpb, found.rounds, found.rounds, method)


def _searched(x: Experiment) -> list[RunRecord]:
    return [run for run in x.runs.values() if run.purpose != "final"]


def _values(now: Estimates, runs: Sequence[RunRecord]) -> list[float]:
    """val_bpb at the machine's usual speed and at its first level: a drift between two runs is no effect."""
    drift = now.drift
    values = [(now.value(run), drift is not None and run.started >= drift.since) for run in runs]
    shift_bpb = drift.shift_bpb if drift is not None else 0.0
    return [value - shift_bpb * later for value, later in values if value is not None]
