"""The measurement of a stopped run."""

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure.outcome import Outcome, measurement, shares


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
