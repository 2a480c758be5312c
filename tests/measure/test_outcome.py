"""How late training ended by the parent's clock, and the measurement of a stopped run."""

import pytest

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure.outcome import Outcome, late, measurement, shares


def _trained(over_s: float, step_s: float) -> Outcome:
    began = 1000.0
    return Outcome(
        {"clock_started": (began, {}), "trained": (began + 300.0 + over_s, {"step_s": step_s, "tokens": 30_000})}
    )


@pytest.mark.parametrize(
    ("over_s", "step_s", "kind"),
    [
        (-0.3, 0.5, None),
        (3.5, 0.5, None),  # within the allowance of 3 s and two steps in flight
        (20.0, 15.0, None),
        (20.0, 0.5, "late"),  # many steps too late, or one stall of the machine
        (40.0, 0.5, "overrun"),
        (40.0, 200.0, "overrun"),  # claiming long steps excuses a tenth of the budget at most
    ],
)
def test_how_late_training_may_end(over_s: float, step_s: float, kind: str | None) -> None:
    failure = late(_trained(over_s, step_s), 300.0, 3.0)
    assert (failure.kind if failure else None) == kind


def test_what_never_began_or_ended_is_not_late() -> None:
    assert late(Outcome(), 300.0, 3.0) is None
    assert late(Outcome({"clock_started": (0.0, {})}), 300.0, 3.0) is None


def test_a_stopped_run_tells_its_speed_and_no_number_of_steps() -> None:
    events = {
        "importing": (1.0, {"speed": 2.0}),
        "clock_started": (3.0, {}),
        "step": (13.0, {"tokens": 4000, "loss": 5.0, "progress": 0.5}),
    }
    stopped = Outcome(events, started=0.0, ended=13.5, curve=[(0.4, 5.0)], behind_nats=0.7, stopped=True)
    m = measurement(stopped, 7, EarlyStopCheck([(0.4, 4.3)], 0.1))
    assert m.stopped and m.past_limit and not m.ok
    assert (m.training_s, m.tok_s, m.num_steps, m.speed_index) == (10.0, 400.0, None, 2.0)
    assert shares(stopped, None, 14.0)["training"] == 10.0
