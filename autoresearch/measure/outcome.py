"""Collect one child's events into an Outcome, and turn Outcomes into a Measurement. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.records import Failure, Measurement
from autoresearch.system.pipes import ChildEvent

CURVE_POINTS = 64  # of a loss curve that are stored, at most


@dataclass
class Outcome:
    """The events of one child and how it ended. Times are seconds of the parent's monotonic clock."""

    events: dict[str, tuple[float, ChildEvent]] = field(default_factory=dict)  # the last of each name, with its time
    failure: Failure | None = None
    started: float = 0.0
    ended: float = 0.0
    curve: list[tuple[float, float]] = field(default_factory=list)  # (progress, nats a token)
    behind_nats: float | None = None  # training loss above the incumbent's at half the budget
    stopped: bool = False  # by the early stop, at half the budget
    built: frozenset[str] = frozenset()  # hashes of the parameters that build_model gave in the model's processes

    def at(self, name: str) -> float | None:
        """Return when the event came, None where it did not."""
        return self.events[name][0] if name in self.events else None

    def get(self, name: str, key: str) -> Any:
        """Return a field of an event, None where it is missing."""
        return self.events[name][1].get(key) if name in self.events else None

    @property
    def val_bpb(self) -> float | None:
        """The score that the judge reports; None where it failed."""
        return None if self.failure else self.get("result", "val_bpb")

    @property
    def last(self) -> str:
        """The event with which training ended."""
        return "step" if self.stopped else "trained"


def measurement(train: Outcome, seed: int, early_stop: EarlyStopCheck | None = None) -> Measurement:
    """Turn the outcome of training into a Measurement without val_bpb.

    A run that the early stop ended has no number of steps, since readers take it for the number in the whole budget.
    """
    began, ended = train.at("clock_started"), train.at(train.last)
    training_s = ended - began if began is not None and ended is not None else None
    tokens = train.get(train.last, "tokens")
    tok_s = tokens / training_s if tokens and training_s else None
    speeds = [train.get("importing", "speed"), train.get("saved", "speed")]  # TFLOP/s, before and after
    known = [speed for speed in speeds if speed] if train.stopped or all(speeds) else []
    speed = sum(known) / len(known) if known else None
    flops = train.get("ready", "flops_per_token")
    product = train.get("saved", "product") or speed
    mfu = 100 * flops * tok_s / (product * 1e12) if isinstance(flops, (int, float)) and tok_s and product else None
    return Measurement(
        seed,
        failure=train.failure,
        training_s=training_s,
        num_steps=train.get("trained", "steps"),
        total_tokens=tokens,
        epochs=train.get("trained", "epochs"),
        num_params=train.get("ready", "num_params"),
        depth=train.get("ready", "depth"),
        tok_s=tok_s,
        peak_memory_mb=train.get("trained", "peak_memory_mb") or train.get("warmed_up", "peak_memory_mb"),
        mfu_percent=mfu,
        product_tflops=product,
        train_loss=train.get("step", "loss"),
        loss_curve=tuple(train.curve[:: max(1, -(-len(train.curve) // CURVE_POINTS))]),
        behind_nats=train.behind_nats,
        stop_limit_nats=early_stop.limit_nats if early_stop else None,
        speed_index=speed,
    )


def with_score(measurement: Measurement, scored: Outcome) -> Measurement:
    """Return the measurement with the outcome of scoring."""
    return replace(
        measurement,
        failure=scored.failure,
        score=scored.val_bpb,
        probe_nats=scored.get("result", "probe_nats"),
    )


def shares(train: Outcome, evaluated: Outcome | None, total_s: float) -> dict[str, float]:
    """Divide total_s into phases; what remains is "overhead", the harness's own."""

    def span(outcome: Outcome | None, start: str | None, end: str | None) -> float:
        if outcome is None:
            return 0.0
        a = outcome.started if start is None else outcome.at(start)
        b = outcome.ended if end is None else outcome.at(end)
        return b - a if a is not None and b is not None else 0.0

    seconds = {
        "startup": span(train, None, "ready"),
        "warmup": span(train, "ready", "clock_started"),
        "training": span(train, "clock_started", train.last),
        "saving": span(train, "trained", None),
        "evaluation_startup": span(evaluated, None, "ready"),
        "evaluation": span(evaluated, "ready", None),
    }
    seconds["overhead"] = total_s - sum(seconds.values())
    return {name: round(s, 3) for name, s in seconds.items()}
