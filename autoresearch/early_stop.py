"""Stopping losers at half the budget: one rule, calibrated on this machine's own experiments. Pure functions.

The rule compares training loss with the incumbent's at equal used budget, so that a slow candidate is judged at the
clock like a small one. It is off until enough contenders are known, and only ever as tight as they allow. It is no
judge of a changed schedule, whose early curve promises nothing about its end; nor of a changed training loss (label
smoothing, say), which a sample of the stopped that is run to the end would show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from autoresearch.interval import t_quantile

Curve = Sequence[tuple[float, float]]  # (progress 0..1, training loss in nats a token), as in Measurement.loss_curve

AT = 0.5  # used budget at which the rule looks, once
WINDOW = 0.15  # of the budget before it, over which the noise of single batches is averaged out
STOPPED_WINNERS = 0.02  # the share of eventual winners that may be lost
CONTENDERS = 12  # fewer give no bound worth having
AUDIT_EVERY = 8


@dataclass(frozen=True, slots=True)
class Finished:
    """One experiment that ran to its end."""

    curve: Curve
    incumbent_curve: Curve
    delta_bpb: float  # incumbent - candidate at the end: positive is better


@dataclass(frozen=True, slots=True)
class Rule:
    """Stop where the loss is more than `limit_nats` above the incumbent's at half the budget."""

    limit_nats: float
    contenders: int  # finished experiments that were no worse in the end, from which the limit comes
    stopped: float  # share of all finished experiments that it would have stopped

    @property
    def saving(self) -> float:
        """Share of all training time."""
        return self.stopped * (1 - AT)

    def __str__(self) -> str:
        return (
            f"stops at half the budget above +{self.limit_nats:.3f} nats: {self.stopped:.0%} of experiments,"
            f" {self.saving:.0%} of training time (from {self.contenders} contenders)"
        )


def calibrate(history: Sequence[Finished]) -> Rule | None:
    """The tightest limit that stops under 2% of eventual winners, or None while that cannot be said or saves nothing.

    Winners are few, so the limit comes from all contenders: everything that ended no worse than its incumbent. It lies
    above each of their gaps and above the upper prediction bound of the next one, Student's t at 98%. Each contender
    then has to survive the limit that the others give.
    """
    gaps = [(gap, run.delta_bpb) for run in history if (gap := _gap(run.curve, run.incumbent_curve)) is not None]
    contenders = [gap for gap, delta_bpb in gaps if delta_bpb >= 0]
    if len(contenders) < CONTENDERS:
        return None
    others = (_limit(contenders[:i] + contenders[i + 1 :]) for i in range(len(contenders)))
    lost = sum(gap > limit for gap, limit in zip(contenders, others, strict=True))
    limit = _limit(contenders)
    stopped = sum(gap > limit for gap, _ in gaps)
    if lost / len(contenders) >= STOPPED_WINNERS or stopped == 0:
        return None
    return Rule(limit, len(contenders), stopped / len(gaps))


def should_stop(
    rule: Rule | None, curve: Curve, incumbent_curve: Curve, progress: float, *, schedule_changed: bool = False
) -> bool:
    """Whether a run that has used `progress` of its budget ends here. Never before half of it, never without a rule."""
    if rule is None or schedule_changed or progress < AT:
        return False
    gap = _gap(curve, incumbent_curve)
    return gap is not None and gap > rule.limit_nats


def audit_due(stopped_before: int) -> bool:
    """Whether one that the rule would stop runs to its end, to keep the rule honest: the 1st, the 9th, ...."""
    return stopped_before % AUDIT_EVERY == 0


def _limit(gaps: Sequence[float]) -> float:
    n = len(gaps)
    bound = fmean(gaps) + t_quantile(1 - STOPPED_WINNERS, n - 1) * stdev(gaps) * math.sqrt(1 + 1 / n)
    return max(bound, *gaps)


def _gap(curve: Curve, incumbent_curve: Curve) -> float | None:
    """Nats above the incumbent in the window before half the budget; None where either has no points there."""
    own, other = _level(curve), _level(incumbent_curve)
    return None if own is None or other is None else own - other


def _level(curve: Curve) -> float | None:
    losses = [loss for progress, loss in curve if AT - WINDOW <= progress <= AT]
    return fmean(losses) if losses else None
