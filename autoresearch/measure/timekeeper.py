"""Watch one training by its clock: when it began, what its start costs it, its tokens, how late it ended."""

from __future__ import annotations

import time

from autoresearch.measure.child_events import IllFormedError
from autoresearch.measure.clock import SHARE, Clock, computed_s
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.workbench import Workbench
from autoresearch.records import Failure
from autoresearch.system.pipes import ChildEvent
from autoresearch.system.process import Child

# What must have come before an event.
AFTER = {"step": "clock_started", "trained": "clock_started", "hashed": "trained", "saved": "hashed"}
HASHED = 100 * 2**20  # bytes of parameters that a child hashes in a second, at least


class Timekeeper:
    """The parent's view of a training. The child is believed only for the loss and the number of the step."""

    def __init__(self, clock: Clock, bench: Workbench, child: Child) -> None:
        self.clock, self.bench, self.child = clock, bench, child
        self._looks: list[tuple[float, float]] = []  # (time, processor seconds): clock begun, budget used, trained

    def patience_s(self, most_s: float) -> float:
        """Return how long to wait for an event, `most_s` at most: a look is due at the end of the budget."""
        left_s = self.clock.end - time.monotonic() if len(self._looks) == 1 else most_s
        return max(0.0, min(left_s, most_s))

    def begins(self, outcome: Outcome) -> bool:
        """Look at the clock and the child, and return whether the event "clock_started" is due."""
        begun = self.clock.began is not None and outcome.at("warmed_up") is not None
        if (begun and not self._looks) or (len(self._looks) == 1 and time.monotonic() >= self.clock.end):
            self._look()
        return begun and outcome.at("clock_started") is None

    def _look(self) -> None:
        self._looks.append((time.monotonic(), self.child.cpu_s()))

    def charge(self, outcome: Outcome) -> Failure | None:
        """Take off the budget what importing and building, and the whole start, took beyond what is free.

        Return a failure where nothing of the budget is left.
        """
        bench, clock = self.bench, self.clock
        began, ready = outcome.at("importing"), outcome.at("ready")
        if began is None or ready is None:
            return None
        parts = [
            ("importing and building", ready - began, max(bench.free_build_s, SHARE * bench.budget_s)),
            ("the whole start", (clock.began or ready) - began, bench.free_start_s),
        ]
        what, took_s, free_s = max(parts, key=lambda part: part[1] - part[2])
        clock.charged_s = max(0.0, took_s - free_s)
        if clock.training_s > 0:
            return None
        text = f"{what} took {took_s:.1f} s: what is beyond {free_s:.3g} s is taken off the {bench.budget_s:g} s"
        return Failure("build", f"{text} of training, and nothing is left")

    def counted(self, event: ChildEvent, at: float, outcome: Outcome) -> ChildEvent:
        """Return an event "step" or "trained" with what was handed out by then, others as they are.

        Raises IllFormedError where it names a step that had no batch, or comes before its time.
        """
        clock, name = self.clock, event["event"]
        if name in AFTER and outcome.at(AFTER[name]) is None:
            raise IllFormedError(f"an event `{name}` before `{AFTER[name]}`")
        if name not in ("step", "trained"):
            return event
        steps = event["step"] + 1 if name == "step" else event["steps"]
        if steps > clock.batches:
            raise IllFormedError(f"an event `{name}` of {steps} steps after {clock.batches} batches")
        if name == "trained":
            self._look()
            return {**event, "tokens": clock.tokens, "epochs": clock.epochs, "step_s": clock.step_s}
        return {**event, "progress": clock.progress(at), "tokens": clock.tokens}

    def late(self, outcome: Outcome, saved_bytes: int) -> Failure | None:
        """Return the failure of a training that ended too long after its budget, or reported its hash too late.

        `saved_bytes` is the size of the checkpoint.
        """
        ended, hashed = outcome.at("trained"), outcome.at("hashed")
        if ended is None or hashed is None:
            return None
        failure = self.clock.late(ended, computed_s(*self._looks) if len(self._looks) == 3 else None)
        hashing_s = hashed - ended
        if failure is None and hashing_s > self.clock.most_s + saved_bytes / HASHED:
            return Failure("late", f"said which parameters it will save {hashing_s:.1f} s after it had trained")
        return failure
