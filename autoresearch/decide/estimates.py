"""Estimate from a night's journal what the keep rule needs: sigma, drift, each experiment's val_bpb. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.decide import keep_rule
from autoresearch.decide.keep_rule import Estimate, after_keep
from autoresearch.decide.noise import Drift, Noise, SpeedFit, drift, pool, speed_fit
from autoresearch.record.night import Experiment, Night, RunRecord


@dataclass(frozen=True, slots=True)
class Estimates:
    """Noise of a night by its replicates, and with it the values of runs and experiments.

    `fit` corrects a value for the machine's speed at that moment; it is None where the correction does not clearly
    reduce the scatter. `drift` is a change of the machine's level that re-runs of unchanged sources show.
    """

    noise: Noise
    fit: SpeedFit | None = None
    drift: Drift | None = None

    def value(self, run: RunRecord) -> float | None:
        """Return a run's val_bpb, corrected to the machine's usual speed where there is a fit; None without one."""
        m = run.measurement
        if m is None or m.score is None:
            return None
        return self.fit.adjust(m.score, m.speed_index) if self.fit and m.speed_index else m.score

    def values(self, x: Experiment, *purposes: str) -> list[float]:
        """Return the values of an experiment's runs with these purposes; by default the runs before its verdict."""
        runs = [r for r in x.runs.values() if r.purpose in (purposes or ("search", "repeat"))]
        return [value for run in runs if (value := self.value(run)) is not None]

    def estimate(self, x: Experiment) -> Estimate:
        """Estimate an experiment from its runs, its pseudo-run (where it was kept) and its re-runs as the incumbent.

        Runs before `drift.since` are ignored where there are later ones, since the machine's level changed. Raises
        ValueError where the experiment has no measured run.
        """
        if self.drift is not None:
            later = [r for r in x.runs.values() if r.started >= self.drift.since and r.purpose != "final"]
            if now := [value for r in later if (value := self.value(r)) is not None]:
                return Estimate(tuple(now))
        runs = self.values(x)
        estimate = Estimate(tuple(runs))
        if x.role == "candidate" and x.delta_score is not None and x.sigma_score is not None:
            replaced = Estimate((estimate.mean + x.delta_score,))
            estimate = after_keep(runs, replaced, Noise(x.sigma_score, 1.0))
        for rerun in self.values(x, "incumbent"):
            estimate = estimate.add(rerun)
        return estimate


def read(night: Night, prior: Noise | None = None) -> Estimates:
    """Estimate noise, speed correction and drift from the night's replicates, shrunk towards `prior`.

    `prior` is what earlier nights of this machine on this task showed (earlier_nights.py).
    """
    groups = night.replicates()
    pairs = [[(m.speed_index, m.score) for r in group if (m := r.measurement)] for group in groups]
    fit = speed_fit([[(speed, bpb) for speed, bpb in group if speed and bpb] for group in pairs])
    raw = Estimates(pool([], prior), fit)
    timed = [[(r.started, value) for r in group if (value := raw.value(r)) is not None] for group in groups]
    return Estimates(pool([[value for _, value in group] for group in timed], prior), fit, drift(timed, prior))


def given_up_sigma(night: Night, now: Estimates) -> float:
    """Return how far the incumbent is above the best incumbent of the night, in sigma; see keep_rule.given_up."""
    keeps = [x for x in night.decided if x.verdict == "keep"]
    best = min(now.estimate(x).mean for x in keeps)
    return keep_rule.given_up(now.estimate(keeps[-1]), best, now.noise)


def kept_gains(night: Night) -> list[float]:
    """Return the gain of each kept candidate over the incumbent of its time, in bits per byte."""
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    return [x.delta_score for x in keeps if x.delta_score is not None]
