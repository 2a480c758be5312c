"""Read the result of a night: which experiment is its baseline, and what the final validation says of the winner.

`status`, the report, `validate`, `export`, `compare` and the exit code of `validate` all take both from here. No I/O.

The final validation runs baseline and winner afresh, in rounds: round i gives each of them one run of purpose `final`
with seed FIRST_SEED + i, scored on what the search never saw. So the runs of a round are paired by their seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Protocol, TypeVar

from autoresearch.decide import cases, counts, estimates
from autoresearch.decide.interval import LEVEL, Interval, paired
from autoresearch.metrics import Metric
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Measurement, Role

Round = tuple[Measurement, Measurement]  # of the baseline and of another version, with one seed


class Versioned(Protocol):
    """Anything that is either a baseline or a change to a parent."""

    @property
    def role(self) -> Role: ...


Node = TypeVar("Node", bound=Versioned)


def root(x: Node | None, parent: Callable[[Node], Node | None]) -> Node | None:
    """Follow `parent` from `x` to the baseline that it descends from; None where there is none.

    With #0 a baseline, #1 made from #0, #5 a second baseline and #6 made from #5: root(#1) is #0, root(#6) is #5.
    """
    while x is not None and x.role != "baseline":
        x = parent(x)
    return x


def baseline_of(night: Night) -> Experiment | None:
    """Return the baseline that the incumbent descends from, or None where no baseline was measured to its end.

    A night has a second baseline after an update of MLX or commits of the user's. The results of the first one do not
    compare with those after it, so it is no longer the baseline once the second is measured. A baseline that
    failed or was abandoned is never the incumbent's: it is passed over.
    """
    found = _baseline_under(night, night.incumbent)
    return found if found is not None and found.scores else None


def final_scores(x: Experiment) -> dict[int, float]:
    """Return the scores of the final runs of `x` (on the test split), by the seed of the round."""
    return {seed: m.score for seed, m in _finals(x).items() if m.score is not None}


def _finals(x: Experiment) -> dict[int, Measurement]:
    runs = [(r.seed, r.measurement) for r in x.runs.values() if r.purpose == "final" and r.measurement]
    return {seed: m for seed, m in runs if m.score is not None}


def rounds(night: Night, x: Experiment) -> list[tuple[float, float]]:
    """Return (baseline, x) in scores for each round that both finished.

    Baseline {9: 1.60, 10: 1.62} and x {9: 1.55, 11: 1.53}, by seed -> [(1.60, 1.55)].
    """
    return [_scores(pair) for pair in _rounds(night, x)]


def _rounds(night: Night, x: Experiment) -> list[Round]:
    baseline = baseline_of(night)
    theirs, ours = _finals(baseline) if baseline else {}, _finals(x)
    return [(theirs[seed], ours[seed]) for seed in ours if seed in theirs]


def _scores(pair: Round) -> tuple[float, float]:
    before, after = (m.score for m in pair)
    assert before is not None and after is not None
    return before, after


def winner_of(night: Night) -> Experiment | None:
    """Return the baseline's descendant with the most rounds (the later one of two), or None without any."""
    baseline = baseline_of(night)
    descendants = [x for x in night.decided if x.role == "candidate" and _baseline_under(night, x) is baseline]
    validated = [x for x in descendants if rounds(night, x)]
    return max(validated, key=lambda x: (len(rounds(night, x)), x.n), default=None)


def validated(night: Night) -> Interval | None:
    """Return the interval of the winner's gain over the baseline; None before there are rounds enough for one.

    The scatter of the metric says what it rests on. Two rounds or more of a noisy metric give a paired t, and so do
    counts that scatter more than counts can; otherwise one round is enough for a binomial interval. An exact metric
    has an interval over cases, or none. Where a noisy metric has cases too, the wider of both intervals is returned,
    since chance enters by runs as well as by cases.
    """
    winner = winner_of(night)
    found = _rounds(night, winner) if winner else []
    metric = estimates.metric_of(night)
    over_cases = _over_cases(found, metric)
    if metric.scatter == "exact":
        return over_cases or _exact(found, metric)
    if metric.scatter == "counts" and (binomial := _binomial(night, found, metric)) is not None:
        return binomial
    over_rounds = paired([_scores(pair) for pair in found], metric=metric) if len(found) > 1 else None
    whole = [each for each in (over_rounds, over_cases) if each is not None]
    return max(whole, key=lambda each: each.high_score - each.low_score) if over_rounds else None


def _gain(found: list[Round]) -> float:
    return fmean(before - after for before, after in map(_scores, found))


def _exact(found: list[Round], metric: Metric) -> Interval | None:
    if not found:
        return None
    gain = _gain(found)
    return Interval(gain, gain, gain, LEVEL, len(found), metric=metric)


def _over_cases(found: list[Round], metric: Metric) -> Interval | None:
    """Return the interval over cases, with each case's score averaged over the rounds; None without the same cases."""
    sizes = {len(m.cases) for pair in found for m in pair}
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    before, after = (
        [fmean(scores) for scores in zip(*(m.cases for m in runs), strict=True)] for runs in zip(*found, strict=True)
    )
    return cases.interval((before, after), _gain(found), metric, len(found))


def _binomial(night: Night, found: list[Round], metric: Metric) -> Interval | None:
    """Return the binomial interval; None without counts, and where the rounds scatter more than counts do.

    That is judged by the variance of the differences over the binomial one, at about 5% (chi-squared).
    """
    if not found:
        return None
    before, after = (counts.count(runs, metric) for runs in zip(*found, strict=True))
    if before is None or after is None:
        return None
    n, others = len(found), [m for x in night.experiments.values() for m in x.measurements]
    expected = counts.difference_error(before, after, metric, others) * math.sqrt(n)
    differences = [a - b for a, b in map(_scores, found)]
    if n > 1 and stdev(differences) ** 2 > (1 + 2 * math.sqrt(2 / (n - 1))) * expected**2:
        return None
    return counts.interval(before, after, metric, n, others=others)


def text(night: Night) -> str | None:
    """Return the search's figure and the validated figure of the winner side by side; None before a validation.

    The difference of the two is what the search's figure owes to having chosen the best of many.
    """
    interval, winner, baseline = validated(night), winner_of(night), baseline_of(night)
    if interval is None or winner is None or baseline is None:
        return None
    now, metric = estimates.read(night), interval.metric
    gain = now.estimate(baseline).mean - now.estimate(winner).mean
    gap = gain - interval.gain_score
    whose = "" if winner.n == night.incumbent_n else f" (both of #{winner.n}, which is not the branch's last)"
    where = night.task.unseen
    search = f"search: {metric.sided(gain)} (optimistic)"
    claims = f"the search's figure is {metric.size(gap)} {'higher' if gap >= 0 else 'lower'}"
    return f"{search}; validated {where}: {interval}; {claims}{whose}"


def _baseline_under(night: Night, x: Experiment | None) -> Experiment | None:
    return root(x, lambda x: None if x.parent_n is None else night.experiments[x.parent_n])
