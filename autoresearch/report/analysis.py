"""Compute the figures of the report and the live view: gain, kept changes, noise, crashes, proposers. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.decide import estimates, validation
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.interval import Interval
from autoresearch.failures import KINDS, meaning
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES

LOOKED_BETTER = 0.5  # sigma by which a first run must be better than the incumbent to count as a lucky one


@dataclass(frozen=True, slots=True)
class Headline:
    """The night in numbers. `gain_score` is the validated gain if there is an `interval`, else the search's own."""

    baseline_score: float | None
    best_score: float | None
    gain_score: float | None
    interval: Interval | None
    sigma_score: float | None
    experiments: int
    keeps: int
    discards: int
    crashes: int
    elapsed_s: float
    metric: Metric = VAL_BPB
    unseen: str = ""  # by what the validation judged: TaskFacts.unseen
    failed: str = ""  # why the baseline gave no number


@dataclass(frozen=True, slots=True)
class ProgressPoint:
    """One experiment of the progress picture. `score` is None if it crashed or was stopped early."""

    n: int
    score: float | None
    kind: str  # "baseline", "keep", "discard" or "crash"
    title: str


@dataclass(frozen=True, slots=True)
class KeptChange:
    """One kept change and its gain over the incumbent of its time."""

    experiment: Experiment
    gain_score: float | None
    error_score: float | None  # standard error of the gain, from sigma and the candidate's own runs
    best_score: float


@dataclass(frozen=True, slots=True)
class LuckyDiscard:
    """A discarded experiment whose first run looked better than the incumbent."""

    experiment: Experiment
    first_gain_score: float
    final_gain_score: float


@dataclass(frozen=True, slots=True)
class Crash:
    """A crashed experiment and the message of its failure."""

    experiment: Experiment
    message: str


@dataclass(frozen=True, slots=True)
class CrashGroup:
    """The crashes of one kind of failure."""

    kind: str
    meaning: str
    crashes: tuple[Crash, ...]


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """The experiments of one category, counted by verdict."""

    name: str
    keep: int
    discard: int
    crash: int
    gain_score: float  # sum over the keeps

    @property
    def total(self) -> int:
        return self.keep + self.discard + self.crash


# --- results --------------------------------------------------------------------------------------------------------


def settled(night: Night) -> list[Experiment]:
    """Return the experiments that have their verdict, or were quarantined, in their order."""
    return [x for x in night.experiments.values() if x.verdict or x.status == "quarantined"]


def candidates(night: Night) -> list[Experiment]:
    """Return the settled experiments that are candidates."""
    return [x for x in settled(night) if x.role == "candidate"]


def verdict_of(experiment: Experiment) -> str:
    """Return the verdict; a quarantined experiment counts as a crash."""
    return experiment.verdict or "crash"


def run_count(experiment: Experiment) -> int:
    """Count the runs that an experiment is judged by: those that ended, without spoiled ones and final validations."""
    return len(experiment.measurements)


def headline(night: Night) -> Headline:
    """Return the night in numbers."""
    tried, now = candidates(night), estimates.read(night)
    counts = Counter(map(verdict_of, tried))
    baseline, best = validation.baseline_of(night), night.incumbent
    first = now.estimate(baseline).mean if baseline else None
    last = now.estimate(best).mean if best and best.scores else None
    interval = validation.validated(night)
    search_gain = first - last if first is not None and last is not None else None
    latest = next((x for x in reversed(night.decided) if x.role == "baseline"), None)
    return Headline(
        baseline_score=first,
        best_score=last,
        gain_score=interval.gain_score if interval else search_gain,
        interval=interval,
        sigma_score=(now.noise.sigma_score or None) if first is not None else None,
        experiments=len(tried),
        keeps=counts["keep"],
        discards=counts["discard"],
        crashes=counts["crash"],
        elapsed_s=night.elapsed_s,
        metric=night.task.metric,
        unseen=night.task.unseen,
        failed=latest.reason if first is None and latest is not None and latest.verdict == "crash" else "",
    )


def points(night: Night, now: Estimates) -> list[ProgressPoint]:
    """Return every settled experiment for the progress picture, keeps at their present estimates."""
    return [_point(x, now) for x in settled(night)]


def _point(experiment: Experiment, now: Estimates) -> ProgressPoint:
    kind = "baseline" if experiment.role == "baseline" else verdict_of(experiment)
    kept = experiment.verdict == "keep" and experiment.scores
    score = now.estimate(experiment).mean if kept else experiment.estimate
    return ProgressPoint(experiment.n, score if kind != "crash" else None, kind, experiment.proposal.title)


def best_line(night: Night, now: Estimates) -> list[tuple[int, float]]:
    """Return the running best: (experiment, bits per byte) for every baseline and keep, at their present estimates."""
    kept = [x for x in night.experiments.values() if x.verdict == "keep" and x.scores]
    return [(x.n, now.estimate(x).mean) for x in kept]


def kept_changes(night: Night) -> list[KeptChange]:
    """Return the changes that the incumbent consists of, oldest first."""
    if night.incumbent is None:
        return []
    now = estimates.read(night)
    return [_kept_change(x, now) for x in night.ancestry(night.incumbent) if x.role == "candidate"]


def _kept_change(x: Experiment, now: Estimates) -> KeptChange:
    error = x.sigma_score / len(x.scores) ** 0.5 if x.sigma_score is not None and x.scores else None
    return KeptChange(x, x.delta_score, error, now.estimate(x).mean)


def lucky_discards(night: Night) -> list[LuckyDiscard]:
    """Return the discards whose first run looked better, the luckiest first."""
    found = []
    for x in candidates(night):
        if x.verdict == "discard" and x.estimate is not None and x.delta_score is not None and x.scores:
            first_gain = x.estimate + x.delta_score - x.scores[0]
            if first_gain > LOOKED_BETTER * (x.sigma_score or 0.0):
                found.append(LuckyDiscard(x, first_gain, x.delta_score))
    return sorted(found, key=lambda lucky: -lucky.first_gain_score)


def crashes(night: Night) -> list[CrashGroup]:
    """Return the crashes by kind of failure, the most frequent first."""
    groups: dict[str, list[Crash]] = {}
    for x in candidates(night):
        if verdict_of(x) == "crash":
            kind, message = _cause(x)
            groups.setdefault(kind, []).append(Crash(x, message))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [CrashGroup(kind, meaning(kind), tuple(found)) for kind, found in ordered]


def _cause(experiment: Experiment) -> tuple[str, str]:
    """Return the kind and the message of a crash; where no run failed, from the reason: "contract: line 3: ..."."""
    if experiment.status == "quarantined":
        return "quarantined", experiment.reason
    if experiment.failure is not None:
        return experiment.failure.kind, experiment.failure.message
    kind, colon, message = experiment.reason.partition(": ")
    return (kind, message) if colon and kind in KINDS else ("other", experiment.reason)


# --- categories -----------------------------------------------------------------------------------------------------


def by_category(night: Night) -> list[GroupCounts]:
    """Return the categories that were tried, in their usual order; those that a proposer invented come last."""
    tried = candidates(night)
    names = dict.fromkeys([*CATEGORIES, *(x.proposal.category for x in tried)])
    groups = [_counts(name, [x for x in tried if x.proposal.category == name]) for name in names]
    return [group for group in groups if group.total]


def _counts(name: str, tried: Sequence[Experiment]) -> GroupCounts:
    counts = Counter(map(verdict_of, tried))
    gain = sum(x.delta_score for x in tried if x.verdict == "keep" and x.delta_score is not None)
    return GroupCounts(name, counts["keep"], counts["discard"], counts["crash"], gain)
