"""Estimate from a night's journal what the keep rule needs: sigma, drift, each experiment's score. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.decide import counts, keep_rule, kinds
from autoresearch.decide.cases import Cases
from autoresearch.decide.keep_rule import Estimate, after_keep
from autoresearch.decide.noise import (
    EXACT,
    MOST_PRIOR_DF,
    WELL_KNOWN_DF,
    Drift,
    Noise,
    SpeedFit,
    drift,
    pool,
    speed_fit,
)
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record.night import Experiment, Night, RunRecord


@dataclass(frozen=True, slots=True)
class Estimates:
    """Noise of a night by its replicates, and with it the values of runs and experiments.

    `fit` corrects a value for the machine's speed at that moment; it is None where the correction does not clearly
    reduce the scatter. `drift` is a change of the machine's level that re-runs of unchanged sources show. `metric` has
    the kind of scatter that the night's runs show, which need not be the declared one (kinds.py).
    """

    noise: Noise
    fit: SpeedFit | None = None
    drift: Drift | None = None
    metric: Metric = VAL_BPB

    def value(self, run: RunRecord) -> float | None:
        """Return a run's score, corrected to the machine's usual speed where there is a fit; None without one."""
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
            later = [r for r in x.runs.values() if r.started >= self.drift.since and r.searched]
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

    def cases(self, incumbent: Experiment, x: Experiment) -> Cases | None:
        """Return the scores by case of the latest runs of two experiments; None where the incumbent's has no cases."""
        theirs, ours = (next((m.cases for m in e.measurements[::-1] if m.ok), ()) for e in (incumbent, x))
        return (theirs, ours) if theirs else None


def read(night: Night, prior: Noise | None = None) -> Estimates:
    """Estimate noise, speed correction and drift from the night's replicates, shrunk towards `prior`.

    `prior` is what earlier nights of this machine on this task showed (earlier_nights.py).
    """
    metric = metric_of(night)
    if metric.scatter == "exact":
        return Estimates(EXACT, metric=metric)
    groups = night.replicates()
    if metric.scatter == "counts" and (binomial := _binomial(night, metric)) is not None:
        return Estimates(_at_least(binomial, pool(_scores(groups), Noise(binomial, MOST_PRIOR_DF))), metric=metric)
    pairs = [[(m.speed_index, m.score) for r in group if (m := r.measurement)] for group in groups]
    fit = speed_fit([[(speed, score) for speed, score in group if speed and score is not None] for group in pairs])
    raw = Estimates(EXACT, fit)
    timed = [[(r.started, value) for r in group if (value := raw.value(r)) is not None] for group in groups]
    noise = pool([[value for _, value in group] for group in timed], prior, _size(night, metric))
    return Estimates(noise, fit, drift(timed, prior), metric)


def metric_of(night: Night) -> Metric:
    """Return the night's metric with the kind of scatter that its replicates show."""
    return kinds.observed(night.task.metric, _scores(night.replicates()))


def _scores(groups: list[list[RunRecord]]) -> list[list[float]]:
    return [[m.score for r in group if (m := r.measurement) and m.score is not None] for group in groups]


def _size(night: Night, metric: Metric) -> float:
    """Return what a relative error of 1 is in scores: the size of the first score, or 1 on a log scale."""
    first = next((score for x in night.experiments.values() for score in x.scores), 1.0)
    return 1.0 if metric.scale == "log" else abs(first)


def _binomial(night: Night, metric: Metric) -> float | None:
    """Return the binomial sigma of one run of the incumbent; None without counts."""
    runs = [m for m in night.incumbent.measurements if m.ok] if night.incumbent else []
    others = [m for x in night.experiments.values() for m in x.measurements]
    return counts.sigma(runs, metric, others) if runs else None


def _at_least(binomial: float, measured: Noise) -> Noise:
    return measured if measured.sigma_score > binomial else Noise(binomial, WELL_KNOWN_DF)


def given_up_sigma(night: Night, now: Estimates) -> float:
    """Return how far the incumbent is above the best incumbent of the night, in sigma; see keep_rule.given_up."""
    keeps = [x for x in night.decided if x.verdict == "keep"]
    best = min(now.estimate(x).mean for x in keeps)
    return keep_rule.given_up(now.estimate(keeps[-1]), best, now.noise)


def kept_gains(night: Night) -> list[float]:
    """Return the gain of each kept candidate over the incumbent of its time, in scores."""
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    return [x.delta_score for x in keeps if x.delta_score is not None]
