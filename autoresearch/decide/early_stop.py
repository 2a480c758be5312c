"""Stop losers at half of their budget, by a limit that is calibrated on this machine's own experiments. No I/O.

At half the budget a candidate's training loss is compared with the incumbent's at the same share of the budget, so that
a slow candidate is compared by the clock. A candidate that is further behind than the limit is stopped.

The limit comes from *contenders*: finished experiments that ended no worse than the incumbent of their time. It lies
above every contender's gap at half the budget, so none of them would have been stopped. Until enough contenders are
known there is no limit, and every candidate runs to its end.

One in AUDIT_EVERY of the candidates past the limit runs to its end all the same, as a sample. If a sample ends as a
contender, it stands for all the candidates that were stopped, and the early stop is switched off.

A loss curve says nothing about its end where the schedule or the training loss was changed; whether two versions
compare is decided by tasks/gpt/comparable.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from autoresearch.decide.interval import t_quantile
from autoresearch.formats import counted
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Measurement

if TYPE_CHECKING:
    import numpy as np

# (progress 0..1, training loss in nats a token), as in Measurement.loss_curve
LossCurve = Sequence[tuple[float, float]]

AT = 0.5  # of the budget: when a candidate is compared, once
WINDOW = 0.15  # of the budget before AT: the losses there are averaged, since single batches scatter
STOPPED_WINNERS = 0.02  # the share of eventual winners that may be lost
CONTENDERS = 12  # with fewer the prediction bound is too wide to be of use
AUDIT_EVERY = 8
LATEST = 3  # runs of the incumbent whose curves are used: earlier ones may stem from another level of the machine


@dataclass(frozen=True, slots=True)
class Example:
    """One experiment that ran to its end, from which the limit is calibrated."""

    behind_nats: float  # training loss above the incumbent's at half the budget
    delta_score: float  # incumbent - candidate at the end: positive is better
    limit_nats: float | None = None  # the limit in force when it ran; None: there was none

    @property
    def contends(self) -> bool:
        """Whether the experiment ended no worse than the incumbent. Actual winners are too few to calibrate from."""
        return self.delta_score >= 0

    @property
    def weight(self) -> int:
        """How many experiments this one stands for: a sample also stands for the candidates that were stopped."""
        return AUDIT_EVERY if self.limit_nats is not None and self.behind_nats > self.limit_nats else 1


@dataclass(frozen=True, slots=True)
class EarlyStopRule:
    """A calibrated limit, with what it rests on and what it saves."""

    limit_nats: float  # above the incumbent's loss at half the budget
    contenders: int  # examples from which the limit comes
    stopped: float  # share of all experiments that it stops

    @property
    def saving(self) -> float:
        """The share of all training time that it saves."""
        return self.stopped * (1 - AT)

    def __str__(self) -> str:
        return (
            f"stops at half the budget above +{self.limit_nats:.3f} nats: {self.stopped:.0%} of experiments,"
            f" {self.saving:.0%} of training time (from {self.contenders} contenders)"
        )


@dataclass(frozen=True, slots=True)
class EarlyStopCheck:
    """Limit and curve for the check of one run at half its budget. Without a limit the gap is only recorded."""

    incumbent_curve: LossCurve
    limit_nats: float | None = None
    sample: bool = False  # runs to its end whatever its gap is

    def behind(self, curve: LossCurve) -> float | None:
        """Return the gap to the incumbent in nats; None where one of the curves has no points in the window.

        With the incumbent at 3.0 nats and the candidate at 3.2 in the window -> 0.2.
        """
        own, other = _level(curve), _level(self.incumbent_curve)
        return None if own is None or other is None else own - other

    def ends(self, behind_nats: float | None) -> bool:
        """Return whether a run with this gap is stopped."""
        limited = self.limit_nats is not None and behind_nats is not None and behind_nats > self.limit_nats
        return limited and not self.sample


# --- calibration ------------------------------------------------------------------------------------------------------


def calibrate(examples: Sequence[Example]) -> EarlyStopRule | None:
    """Return the tightest limit that stops less than 2% of eventual winners.

    The limit is the largest of these:

    - the largest gap of a contender,
    - the upper prediction bound (Student's t, 98%) for the gap of one more contender,
    - every limit that was in force before, since the runs that it stopped are missing from the examples.

    Return None where there are fewer than CONTENDERS contenders, where the limit would stop nothing, and where 2% of
    the contenders or more, by weight, exceed the limit that the other contenders give (leave-one-out).
    """
    contenders = [run for run in examples if run.contends]
    if len(contenders) < CONTENDERS:
        return None
    floor = max((run.limit_nats for run in examples if run.limit_nats is not None), default=-math.inf)
    import numpy as np  # here: `status` reads a night without it, 100 ms sooner

    gaps = np.array([run.behind_nats for run in contenders])
    weights = np.array([run.weight for run in contenders])
    others = np.array([gaps[np.arange(len(gaps)) != i] for i in range(len(gaps))])  # (n, n - 1)
    lost = weights[gaps > _limits(others, floor)].sum()
    limit = float(_limits(gaps[None], floor)[0])
    stopped = sum(run.weight for run in examples if run.behind_nats > limit)
    if lost / weights.sum() >= STOPPED_WINNERS or stopped == 0:
        return None
    return EarlyStopRule(limit, len(contenders), stopped / sum(run.weight for run in examples))


def audit_due(past_limit: int) -> bool:
    """Return whether the next candidate past the limit is a sample: the 1st, the 9th, ... after `past_limit` others."""
    return past_limit % AUDIT_EVERY == 0


def _limits(gaps: np.ndarray, floor: float) -> np.ndarray:
    """Return the limit that each row of contenders gives: (rows, contenders) -> (rows,)."""
    n = gaps.shape[1]
    spread = gaps.std(axis=1, ddof=1) * math.sqrt(1 + 1 / n)
    bound = gaps.mean(axis=1) + t_quantile(1 - STOPPED_WINNERS, n - 1) * spread
    limits: np.ndarray = bound.clip(min=gaps.max(axis=1)).clip(min=floor)
    return limits


def _level(curve: LossCurve) -> float | None:
    """Return the mean loss in the window before AT."""
    losses = [loss for progress, loss in curve if AT - WINDOW <= progress <= AT]
    return fmean(losses) if losses else None


# --- a night's journal ------------------------------------------------------------------------------------------------


def examples(night: Night) -> list[Example]:
    """Return the night's experiments whose first run was compared at half its budget and ran to its end."""
    found = []
    for x in night.decided:
        m = _first(x)
        if m is not None and m.ok and m.behind_nats is not None and x.delta_score is not None:
            found.append(Example(m.behind_nats, x.delta_score, m.stop_limit_nats))
    return found


def curve(incumbent: Experiment) -> LossCurve:
    """Return the points of the incumbent's latest runs together; `EarlyStopCheck` averages over them."""
    runs = [m for m in incumbent.measurements if m.ok][-LATEST:]
    return [point for m in runs for point in m.loss_curve]


def past_limit(night: Night) -> int:
    """Count the experiments that were past the limit, samples included."""
    return sum(m.past_limit for x in night.experiments.values() if (m := _first(x)))


def reason(m: Measurement) -> str:
    """Say why a run was stopped: "stopped at 50% of the budget: its loss was 0.400 nats above ... (limit 0.200)"."""
    assert m.behind_nats is not None and m.stop_limit_nats is not None
    return (
        f"stopped at {AT:.0%} of the budget: its loss was {m.behind_nats:.3f} nats above the incumbent's"
        f" (limit {m.stop_limit_nats:.3f})"
    )


def saved_s(night: Night) -> float:
    """Return the seconds that the stopped runs saved, against the mean of the runs that ended."""
    ended = [m.total_s for x in night.decided for m in x.measurements if m.ok]
    stopped = [x.stopped.total_s for x in night.decided if x.stopped]
    return sum(max(0.0, fmean(ended) - s) for s in stopped) if ended else 0.0


def text(night: Night) -> str | None:
    """Sum up the early stop in one line; None where no candidate was past the limit."""
    if not past_limit(night):
        return None
    stopped = sum(x.stopped is not None for x in night.decided)
    samples = [x for x in night.decided if (m := _first(x)) and m.past_limit and m.ok]
    wrong = sum((x.delta_score or 0.0) >= 0 for x in samples)
    saved = saved_s(night)
    share = saved / (night.elapsed_s + saved) if saved else 0.0
    tried = counted(sum(x.role == "candidate" for x in night.decided), "experiment")
    return (
        f"early stop: {stopped} of {tried} ended at {AT:.0%} of"
        f" their budget, {saved:.0f} s saved ({share:.0%} of the night); {len(samples)} more ran on as samples,"
        f" {wrong} of them no worse than the incumbent in the end"
    )


def _first(x: Experiment) -> Measurement | None:
    """Return the run that is compared at half its budget."""
    return next((r.measurement for r in x.runs.values() if r.purpose == "search" and r.measurement), None)
