"""Where the night stands, in the keep rule's terms: from the journal's Night to values, estimates and noise. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.decide import keep_rule
from autoresearch.decide.keep_rule import Estimate, after_keep
from autoresearch.decide.noise import Drift, Noise, SpeedFit, drift, pool, speed_fit
from autoresearch.record.night import Experiment, Night, RunRecord


@dataclass(frozen=True, slots=True)
class Estimates:
    """One reading of the night.

    `fit` takes the machine's speed of the moment out of a value, where that is proven to shrink the scatter; `drift` is
    a change of level that the incumbent's own repetitions show: what was measured before it says nothing about now.
    """

    noise: Noise
    fit: SpeedFit | None = None
    drift: Drift | None = None

    def value(self, run: RunRecord) -> float | None:
        """val_bpb of a run, at the machine's usual speed where that is known."""
        m = run.measurement
        if m is None or m.val_bpb is None:
            return None
        return self.fit.adjust(m.val_bpb, m.speed_index) if self.fit and m.speed_index else m.val_bpb

    def values(self, x: Experiment, *purposes: str) -> list[float]:
        runs = [r for r in x.runs.values() if r.purpose in (purposes or ("search", "repeat"))]
        return [value for run in runs if (value := self.value(run)) is not None]

    def estimate(self, x: Experiment) -> Estimate:
        """What is believed of an experiment that became the incumbent: its runs, its anchor, its controls.

        Raises ValueError where it has no measured run.
        """
        if self.drift is not None:
            later = [r for r in x.runs.values() if r.started >= self.drift.since and r.purpose != "final"]
            if now := [value for r in later if (value := self.value(r)) is not None]:
                return Estimate(tuple(now))
        runs = self.values(x)
        estimate = Estimate(tuple(runs))
        if x.role == "candidate" and x.delta_bpb is not None and x.sigma_bpb is not None:
            replaced = Estimate((estimate.mean + x.delta_bpb,))
            estimate = after_keep(runs, replaced, Noise(x.sigma_bpb, 1.0))
        for control in self.values(x, "incumbent"):
            estimate = estimate.add(control)
        return estimate


def read(night: Night, prior: Noise | None = None) -> Estimates:
    groups = night.replicates()
    pairs = [[(m.speed_index, m.val_bpb) for r in group if (m := r.measurement)] for group in groups]
    fit = speed_fit([[(speed, bpb) for speed, bpb in group if speed and bpb] for group in pairs])
    raw = Estimates(pool([], prior), fit)
    timed = [[(r.started, value) for r in group if (value := raw.value(r)) is not None] for group in groups]
    return Estimates(pool([[value for _, value in group] for group in timed], prior), fit, drift(timed, prior))


def given_up_sigma(night: Night, now: Estimates) -> float:
    """How far the incumbent stands above the best that the night has had: what simplifications gave up."""
    keeps = [x for x in night.decided if x.verdict == "keep"]
    best = min(now.estimate(x).mean for x in keeps)
    return keep_rule.given_up(now.estimate(keeps[-1]), best, now.noise)


def kept_gains(night: Night) -> list[float]:
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    return [x.delta_bpb for x in keeps if x.delta_bpb is not None]
