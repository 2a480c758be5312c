"""What a start costs, what a step may name, and when the child is looked at."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from autoresearch.measure.child_events import IllFormedError
from autoresearch.measure.clock import Clock
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.timekeeper import Timekeeper
from autoresearch.measure.workbench import Workbench
from autoresearch.system.process import Child
from testbed.toy import toy_bench


class Working:
    """Child whose processor time is what was set last."""

    used_s = 0.0

    def cpu_s(self) -> float:
        return self.used_s


@pytest.fixture
def bench(toy_data: Path) -> Workbench:
    return replace(toy_bench(toy_data, budget_s=100.0), free_build_s=0.5, free_start_s=20.0)


def kept(bench: Workbench, **facts: Any) -> tuple[Timekeeper, Working]:
    child = Working()
    return Timekeeper(Clock(bench.budget_s, 1000, **facts), bench, cast(Child, child)), child


def started(build_s: float, warmup_s: float = 0.0) -> tuple[Outcome, float]:
    events: dict[str, Any] = {"importing": (10.0, {}), "ready": (10.0 + build_s, {}), "warmed_up": (10.0, {})}
    return Outcome(events), 10.0 + build_s + warmup_s


@pytest.mark.parametrize(
    ("build_s", "warmup_s", "left_s"),
    [(0.9, 15.0, 100.0), (3.0, 0.0, 98.0), (0.5, 30.0, 89.5), (5.0, 40.0, 75.0), (101.5, 0.0, 0.0)],
)
def test_a_long_start_is_taken_off_the_budget(build_s: float, warmup_s: float, left_s: float, bench: Workbench) -> None:
    outcome, began = started(build_s, warmup_s)
    keeper, _ = kept(bench, began=began)
    failure = keeper.charge(outcome)
    assert keeper.clock.training_s == pytest.approx(left_s)
    assert (failure is not None) == (left_s == 0.0)
    assert failure is None or (failure.kind == "build" and "nothing is left" in failure.message)


def test_building_for_longer_than_the_budget_fails_before_the_clock(bench: Workbench) -> None:
    keeper, _ = kept(bench)
    failure = keeper.charge(started(102.0)[0])
    assert failure is not None and "importing and building took 102.0 s" in failure.message


def test_a_step_has_a_batch_and_gets_the_parents_counts(bench: Workbench) -> None:
    keeper, _ = kept(bench, began=50.0, batches=4, tokens=256)
    outcome = Outcome({"clock_started": (50.0, {})})
    assert keeper.counted({"event": "ready"}, 60.0, outcome) == {"event": "ready"}
    said = {"event": "step", "step": 3, "loss": 2.0, "tokens": 10**9, "progress": 0.9}
    assert keeper.counted(said, 60.0, outcome) == {**said, "tokens": 256, "progress": 0.1}
    assert keeper.counted({"event": "trained", "steps": 0}, 60.0, outcome)["tokens"] == 256
    for event in ({"event": "step", "step": 4, "loss": 2.0}, {"event": "trained", "steps": 5}):
        with pytest.raises(IllFormedError, match="of 5 steps after 4 batches"):
            keeper.counted(event, 60.0, outcome)
    for name, before in (("trained", "clock_started"), ("step", "clock_started"), ("hashed", "trained")):
        with pytest.raises(IllFormedError, match=f"`{name}` before `{before}`"):
            keeper.counted({"event": name, "steps": 0, "step": 0}, 60.0, Outcome())


def test_a_run_that_computed_nothing_after_its_budget_was_held_up(bench: Workbench) -> None:
    for used_s, kind in ((2.0, None), (2.9, "late")):
        keeper, child = kept(bench, began=time.monotonic() - 99.95, batches=9)
        outcome, _ = started(0.1)
        assert keeper.begins(outcome)
        child.used_s = 1.9
        outcome.events["clock_started"] = (0.0, {})
        assert 0.0 <= keeper.patience_s(10.0) <= 0.06
        while time.monotonic() < keeper.clock.end:
            time.sleep(0.01)
        keeper.begins(outcome)
        child.used_s = used_s
        keeper.counted({"event": "trained", "steps": 0}, 0.0, outcome)
        outcome.events["trained"] = (keeper.clock.end + 0.9, {})
        keeper._looks[0] = (keeper.clock.end - 2.0, 0.0)  # 0.95 processor seconds a second
        outcome.events["hashed"] = (keeper.clock.end + 1.0, {})
        failure = keeper.late(outcome, 0)
        assert (failure.kind if failure else None) == kind


def test_a_promise_that_comes_late_is_late_by_more_than_hashing_takes(bench: Workbench) -> None:
    keeper, _ = kept(replace(bench, overtime_s=0.25), began=0.0, batches=9)
    outcome = Outcome({"clock_started": (0.0, {}), "trained": (100.0, {}), "hashed": (104.0, {})})
    failure = keeper.late(outcome, 0)
    assert failure is not None and failure.kind == "late" and "4.0 s after it had trained" in failure.message
    assert keeper.late(outcome, 400 * 2**20) is None
