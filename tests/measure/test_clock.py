"""The clock of a training: steps as the parent sees them, when it is over, and how late a run may end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.measure.clock import Clock, computed_s

Second = st.floats(0.0, 100.0)


def asked_at(times: list[float], budget_s: float = 300.0, overtime_s: float = 0.25) -> Clock:
    clock = Clock(budget_s, 1000, overtime_s)
    for now in times:
        clock.hand_out(now, 10)
    return clock


def steps(count: int, step_s: float, micro_batches: int = 1) -> list[float]:
    """Return when the batches of `count` steps are asked for, the micro-batches of a step in a row."""
    return [k * step_s + 1e-4 * i for k in range(count) for i in range(micro_batches)]


@pytest.mark.parametrize("micro_batches", [1, 2, 8, 64])
def test_a_step_is_what_the_parent_sees_whatever_the_micro_batches(micro_batches: int) -> None:
    assert asked_at(steps(40, 0.5, micro_batches)).step_s == pytest.approx(0.5, rel=0.05)


def test_one_stall_is_no_step() -> None:
    times = steps(100, 0.5)
    assert asked_at([t + 20.0 * (t > 40) for t in times]).step_s == pytest.approx(0.5)


def test_the_clock_counts_what_it_hands_out() -> None:
    clock = Clock(300.0, 1000)
    assert (clock.progress(5.0), clock.end, clock.step_s) == (0.0, math.inf, 0.0)
    clock.hand_out(100.0, 640)
    assert (clock.began, clock.batches, clock.epochs, clock.progress(250.0)) == (100.0, 1, 0.64, 0.5)
    clock.charged_s = 100.0
    assert (clock.progress(200.0), clock.end) == (0.5, 300.0)
    clock.charged_s = 400.0
    assert clock.progress(100.0) == 1.0 and clock.is_over(100.0)


@pytest.mark.parametrize(("step_s", "late_s"), [(0.01, 0.0), (0.5, 0.25), (2.0, 1.0), (20.0, 1.5)])
def test_the_last_step_is_to_end_within_half_a_step_or_half_a_percent(step_s: float, late_s: float) -> None:
    """A step is under way when the next batch is asked for, which then takes as long."""
    clock, now = asked_at([0.0]), 0.0
    while not clock.is_over(now := now + step_s):
        clock.hand_out(now, 10)
    ended = now + step_s  # of the step under way
    assert 300.0 - step_s <= ended <= 300.0 + late_s + 0.01


@given(st.lists(Second, min_size=1, max_size=200), Second)
def test_no_pattern_of_requests_buys_more_than_one_percent(gaps: list[float], over_s: float) -> None:
    clock = asked_at([sum(gaps[:k]) for k in range(len(gaps))])
    failure = clock.late(clock.end + over_s, None)
    assert failure is not None or over_s <= 3.0


@pytest.mark.parametrize(
    ("over_s", "step_s", "computed", "kind"),
    [
        (-0.3, 0.5, None, None),
        (0.7, 0.5, None, None),  # a step and a quarter of a second
        (2.9, 2.9, None, None),
        (3.1, 100.0, None, "overrun"),  # 1% of the budget, however long the steps
        (1.0, 0.5, 0.9, "late"),  # a little over: measured again
        (1.0, 0.5, 0.1, None),  # the machine held it up, by less than any run may be late
        (20.0, 0.5, 0.1, "late"),  # the same for longer than that
        (20.0, 0.5, 19.0, "overrun"),  # it computed on
        (40.0, 0.5, 0.1, "overrun"),
    ],
)
def test_how_late_training_may_end(over_s: float, step_s: float, computed: float | None, kind: str | None) -> None:
    clock = asked_at(steps(20, step_s))
    failure = clock.late(clock.end + over_s, computed)
    assert (failure.kind if failure else None) == kind
    assert failure is None or f"{over_s:.1f} s longer than its 300 s" in failure.message


def test_a_short_budget_has_a_floor_and_few_batches_no_step() -> None:
    assert asked_at([0.0], budget_s=0.3).late(1.2, None) is None
    assert asked_at(steps(20, 0.01), budget_s=0.3).late(1.2, None) is not None
    assert asked_at([0.0], budget_s=0.3, overtime_s=60.0).late(50.0, None) is None


def test_what_was_computed_is_told_by_the_rate_before() -> None:
    assert computed_s((0, 0), (10, 20), (13, 20.5)) == 0.25
    assert computed_s((0, 0), (10, 0.01), (13, 20.5)) is None
    assert computed_s((5, 0), (5, 3), (13, 20.5)) is None
