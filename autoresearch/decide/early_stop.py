"""Stopping losers at half the budget: one rule, calibrated on this machine's own experiments. Pure functions.

The rule compares training loss with the incumbent's at equal used budget, so that a slow candidate is judged at the
clock like a small one. It is off until enough contenders are known, and only ever as tight as they allow. It is no
judge of a changed schedule, whose early curve promises nothing about its end, nor of a changed training loss; which
versions those are is curves.py's matter. Of the runs that it would stop, one in eight runs on: a winner among them
counts for all eight, and puts the rule off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from autoresearch.decide.interval import t_quantile

Curve = Sequence[tuple[float, float]]  # (progress 0..1, training loss in nats a token), as in Measurement.loss_curve

AT = 0.5  # used budget at which the rule looks, once
WINDOW = 0.15  # of the budget before it, over which the noise of single batches is averaged out
STOPPED_WINNERS = 0.02  # the share of eventual winners that may be lost
CONTENDERS = 12  # fewer give no bound worth having
AUDIT_EVERY = 8


@dataclass(frozen=True, slots=True)
class Finished:
    """One experiment that ran to its end."""

    behind_nats: float  # training loss above the incumbent's at half the budget
    delta_bpb: float  # incumbent - candidate at the end: positive is better
    limit_nats: float | None = None  # of the rule in force when it ran; None: it was off

    @property
    def contends(self) -> bool:
        """Whether it was no worse in the end. Winners are too few to learn from."""
        return self.delta_bpb >= 0

    @property
    def weight(self) -> int:
        """How many experiments it stands for: one that would have been stopped, for those that were."""
        return AUDIT_EVERY if self.limit_nats is not None and self.behind_nats > self.limit_nats else 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Stop where the loss is more than `limit_nats` above the incumbent's at half the budget."""

    limit_nats: float
    contenders: int  # finished experiments that were no worse in the end, from which the limit comes
    stopped: float  # share of all experiments that it would stop

    @property
    def saving(self) -> float:
        """Share of all training time."""
        return self.stopped * (1 - AT)

    def __str__(self) -> str:
        return (
            f"stops at half the budget above +{self.limit_nats:.3f} nats: {self.stopped:.0%} of experiments,"
            f" {self.saving:.0%} of training time (from {self.contenders} contenders)"
        )


@dataclass(frozen=True, slots=True)
class EarlyStopCheck:
    """What is needed to judge one run at half its budget; without a limit it is only looked at."""

    incumbent_curve: Curve
    limit_nats: float | None = None
    sample: bool = False  # it runs on whatever is found

    def behind(self, curve: Curve) -> float | None:
        """Nats above the incumbent in the window before half the budget; None where one of them has no points there."""
        own, other = _level(curve), _level(self.incumbent_curve)
        return None if own is None or other is None else own - other

    def ends(self, behind_nats: float | None) -> bool:
        limited = self.limit_nats is not None and behind_nats is not None and behind_nats > self.limit_nats
        return limited and not self.sample


def calibrate(history: Sequence[Finished]) -> Rule | None:
    """The tightest limit that stops under 2% of eventual winners, or None while that cannot be said or saves nothing.

    The limit comes from all contenders. It lies above each one's gap and above the upper prediction bound of the next
    one, Student's t at 98%. Each contender then has to survive the limit that the others give. It is never tighter
    than one that was in force: whom that stopped, it has not heard.
    """
    contenders = [run for run in history if run.contends]
    if len(contenders) < CONTENDERS:
        return None
    floor = max((run.limit_nats for run in history if run.limit_nats is not None), default=-math.inf)
    gaps = np.array([run.behind_nats for run in contenders])
    weights = np.array([run.weight for run in contenders])
    others = np.array([gaps[np.arange(len(gaps)) != i] for i in range(len(gaps))])  # (n, n - 1)
    lost = weights[gaps > _limits(others, floor)].sum()
    limit = float(_limits(gaps[None], floor)[0])
    stopped = sum(run.weight for run in history if run.behind_nats > limit)
    if lost / weights.sum() >= STOPPED_WINNERS or stopped == 0:
        return None
    return Rule(limit, len(contenders), stopped / sum(run.weight for run in history))


def audit_due(stopped_before: int) -> bool:
    """Whether one that the rule would stop runs to its end, to keep the rule honest: the 1st, the 9th, ...."""
    return stopped_before % AUDIT_EVERY == 0


def _limits(gaps: np.ndarray, floor: float) -> np.ndarray:
    """The limit that each row of contenders gives: (rows, contenders) -> (rows,)."""
    n = gaps.shape[1]
    spread = gaps.std(axis=1, ddof=1) * math.sqrt(1 + 1 / n)
    bound = gaps.mean(axis=1) + t_quantile(1 - STOPPED_WINNERS, n - 1) * spread
    limits: np.ndarray = np.maximum(np.maximum(bound, gaps.max(axis=1)), floor)
    return limits


def _level(curve: Curve) -> float | None:
    losses = [loss for progress, loss in curve if AT - WINDOW <= progress <= AT]
    return fmean(losses) if losses else None
