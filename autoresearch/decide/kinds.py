"""Find how the runs of one version differ, and how many runs each kind of metric needs. No I/O.

A task declares `Metric.scatter`, and measured runs override it. A metric is exact where all replicates agree: three of
one version, or two where it is declared exact. It is noisy where replicates of a declared exact one differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoresearch.decide.exact import same
from autoresearch.decide.interval import RETESTS, ROUNDS
from autoresearch.decide.noise import Noise
from autoresearch.metrics import Metric, Scatter

KNOWN_DF = 4.0  # degrees of freedom from which earlier nights know sigma
AGREEING_RUNS = 3  # replicates that show a metric to be exact
SCATTERS: Mapping[Scatter, str] = {  # what runs of one version show
    "noisy": "runs of one version differ",
    "exact": "runs of one version agree to the last digit",
}


@dataclass(frozen=True, slots=True)
class RunsNeeded:
    """Numbers of runs of which a night by one metric consists."""

    baseline: int  # of the unchanged files, before the first candidate
    retests: int  # further runs of each of the top three before the validation
    rounds: int  # of the validation: one run of the baseline and one of the winner each
    reruns: bool = True  # of incumbent and baseline during the night


def runs_needed(metric: Metric, prior: Noise | None = None) -> RunsNeeded:
    """Return the runs that a metric needs. Its `scatter` has to be the one that runs show (`Estimates.metric`).

    Three baseline runs give the first estimate of sigma. Two are enough where earlier nights know it (`prior`), where
    it is binomial, and to see that a declared exact metric is exact, whose further runs would tell nothing new.
    """
    if metric.scatter == "exact":
        return RunsNeeded(2, 0, 1, reruns=False)
    known = metric.scatter == "counts" or (prior is not None and prior.df >= KNOWN_DF)
    return RunsNeeded(2 if known else 3, RETESTS, ROUNDS)


def observed(metric: Metric, groups: Sequence[Sequence[float]]) -> Metric:
    """Return the metric with the scatter that groups of replicates (scores) show.

    >>> observed(Metric(scatter="exact"), [[1.0, 1.2]]).scatter, observed(Metric(), [[1.0, 1.0, 1.0]]).scatter
    ('noisy', 'exact')
    """
    agree = all(same(score, group[0], metric) for group in groups for score in group)
    if metric.scatter == "exact" and not agree:
        return replace(metric, scatter="noisy")
    if metric.scatter == "noisy" and agree and any(len(group) >= AGREEING_RUNS for group in groups):
        return replace(metric, scatter="exact")
    return metric
