"""Keep the time of one training by the parent's clock: what was handed out, what is left, how late it ended. No I/O."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from autoresearch.records import Failure

SHARE = 0.01  # of the budget by which a run may end late, however long its steps are
LEAST_S = 1.0  # the same for budgets so short that SHARE of them is not a step
LATE = 0.1  # share of the budget after which a run that did not end is ended
RECENT = 128  # intervals between batches from which the length of a step is told
FEW = 4  # batches with fewer than which no step's length is known


@dataclass
class Clock:
    """The clock of one training. The feeder's thread writes it, and the follower reads it.

    `overtime_s` are the seconds beside one step that a run may end late: a machine schedules no process at once.
    """

    budget_s: float
    epoch_tokens: int  # tokens of the training data
    overtime_s: float = 0.25
    began: float | None = None  # monotonic seconds when the first batch was handed out
    batches: int = 0
    tokens: int = 0
    charged_s: float = 0.0  # taken off the budget, for a start that took too long
    refused: str | None = None  # why the child gets no more data
    _asked: float = 0.0  # when a batch was last asked for
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def hand_out(self, now: float, tokens: int) -> None:
        """Count a batch that was asked for at `now`; the first one starts the clock."""
        if self.began is None:
            self.began = now
        else:
            self._intervals.append(now - self._asked)
        self._asked = now
        self.batches, self.tokens = self.batches + 1, self.tokens + tokens

    @property
    def training_s(self) -> float:
        """Seconds that this run may train: the budget, less what was taken off."""
        return max(0.0, self.budget_s - self.charged_s)

    @property
    def most_s(self) -> float:
        """Seconds that any run may end late."""
        return max(SHARE * self.budget_s, LEAST_S, self.overtime_s)

    @property
    def end(self) -> float:
        """Monotonic seconds when the budget is used; infinite as long as the clock has not begun."""
        return math.inf if self.began is None else self.began + self.training_s

    @property
    def epochs(self) -> float:
        return self.tokens / self.epoch_tokens

    @property
    def step_s(self) -> float:
        """Seconds of a step: half of the recent time went by in intervals between batches at least as long.

        The micro-batches of a step are asked for in a row, so that all but one of the intervals are short, and one
        stall of the machine is long: neither moves this median by time. 0.0 until a second batch was asked for.
        """
        longest_first = sorted(self._intervals, reverse=True)
        passed, half = 0.0, sum(longest_first) / 2
        for interval in longest_first:
            passed += interval
            if passed >= half:
                return interval
        return 0.0

    def used_s(self, now: float) -> float:
        return 0.0 if self.began is None else now - self.began

    def progress(self, now: float) -> float:
        """Return used time / time, from 0 to 1."""
        return min(1.0, self.used_s(now) / self.training_s) if self.training_s else 1.0

    def is_over(self, now: float) -> bool:
        """Return whether a step that begins with a batch asked for at `now` would end too late.

        A step is under way when the next batch is asked for: both have to end by the budget, within half a step, or
        within half of what a run may end late where that is less.
        """
        step_s = self.step_s
        return self.used_s(now) + 2 * step_s - min(step_s, self.most_s) / 2 >= self.training_s

    @property
    def allowed_s(self) -> float:
        """Seconds after the budget by which training must have ended: one step, and what a busy machine takes."""
        return self.most_s if self.batches < FEW else min(self.step_s + self.overtime_s, self.most_s)

    def late(self, ended: float, computed_s: float | None) -> Failure | None:
        """Return the failure of a training that ended later than one step after its budget.

        `computed_s` is the part of the overtime in which the child computed, by its processor time, None where that is
        unknown. A run that the machine held up gained nothing by it; it is "late", and repeated, where it ended later
        than any run may. So is one that was little over. What computed on for longer is an "overrun".
        """
        over_s, allowed_s, most_s = ended - self.end, self.allowed_s, self.most_s
        if over_s <= allowed_s:
            return None
        held_up = computed_s is not None and computed_s <= allowed_s
        if held_up and over_s <= most_s:
            return None
        may_be_the_machine = over_s <= (most_s + LATE * self.budget_s if held_up else most_s)
        text = f"trained {over_s:.1f} s longer than its {self.training_s:.4g} s; a step takes {self.step_s:.2g} s"
        advice = "the time after the last batch counts too: end it earlier, by run.progress"
        return Failure("late" if may_be_the_machine else "overrun", f"{text}, and {advice}")


def computed_s(start: tuple[float, float], end: tuple[float, float], last: tuple[float, float]) -> float | None:
    """Return the seconds between `end` and `last` in which a child computed as it did between `start` and `end`.

    Each is (monotonic seconds, processor seconds used). None where the child used too little to tell.

    computed_s((0, 0), (10, 20), (13, 20.5)) -> 0.25
    """
    time_s, used_s = end[0] - start[0], end[1] - start[1]
    return (last[1] - end[1]) * time_s / used_s if time_s > 0 and used_s >= 0.1 else None
