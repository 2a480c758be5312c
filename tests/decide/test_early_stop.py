"""The early stop: off until calibrated, never before half the budget, and what a night's journal tells of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoresearch.decide import early_stop
from autoresearch.decide.early_stop import AUDIT_EVERY, CONTENDERS, EarlyStopCheck, Example, audit_due, calibrate
from autoresearch.records import Measurement
from testbed.night_builder import EXACT, NightBuilder, set_to


def _curve(offset, points=40):
    return [(p, 3.0 - 0.5 * p + offset) for p in np.linspace(0.025, 1.0, points).tolist()]


def _history(contenders, losers, limit_nats=None, seed=0):
    rng = np.random.default_rng(seed)
    good = [Example(0.01 * rng.normal(), 0.004, limit_nats) for _ in range(contenders)]
    return good + [Example(0.3 + 0.01 * rng.normal(), -0.1) for _ in range(losers)]


def test_is_off_until_enough_contenders_are_known():
    assert calibrate([]) is None
    assert calibrate(_history(CONTENDERS - 1, 50)) is None
    assert calibrate(_history(CONTENDERS + 8, 20)) is not None


def test_is_off_where_it_would_save_nothing():
    assert calibrate(_history(30, 0)) is None


def test_is_off_where_contenders_look_like_losers_at_half_the_budget():
    assert calibrate(_history(20, 20)) is not None
    assert calibrate([*_history(20, 20), Example(0.35, 0.02)]) is None


def test_the_limit_clears_every_contender_and_says_what_it_saves():
    rule = calibrate(_history(20, 20))
    assert rule is not None
    assert 0.0 < rule.limit_nats < 0.2
    assert rule.contenders == 20
    assert rule.stopped == 0.5
    assert rule.saving == 0.25
    assert str(rule).endswith("50% of experiments, 25% of training time (from 20 contenders)")


def test_a_sample_stands_for_those_that_were_stopped():
    many = _history(200, 20, limit_nats=0.1)
    loser, winner = Example(0.2, -0.1, 0.1), Example(0.2, 0.02, 0.1)
    assert loser.weight == winner.weight == AUDIT_EVERY
    assert calibrate([*many, Example(0.2, 0.02)]) is not None  # one of 201, as no limit was in force
    assert calibrate([*many, winner]) is None  # a sample, which stands for eight
    rule = calibrate([*many, loser])
    assert rule is not None and rule.stopped == 28 / 228


def test_no_limit_is_tighter_than_one_in_force():
    tight = calibrate(_history(40, 20))
    assert tight is not None and tight.limit_nats < 0.15
    after = calibrate(_history(40, 20, limit_nats=0.15))
    assert after is not None and after.limit_nats == 0.15


@pytest.mark.parametrize(
    ("offset", "limit_nats", "sample", "ends"),
    [
        (0.3, 0.1, False, True),
        (0.3, 0.1, True, False),
        (0.3, None, False, False),
        (0.05, 0.1, False, False),
        (-0.3, 0.1, False, False),
    ],
)
def test_the_look_at_half_the_budget(offset, limit_nats, sample, ends):
    halfway = EarlyStopCheck(_curve(0.0), limit_nats, sample)
    so_far = [(p, loss) for p, loss in _curve(offset) if p <= 0.51]
    assert halfway.behind(so_far) == pytest.approx(offset)
    assert halfway.ends(halfway.behind(so_far)) is ends


def test_without_points_before_half_the_budget_nothing_is_ended():
    assert EarlyStopCheck(_curve(0.0), 0.1).behind([(0.2, 9.0), (0.51, 9.0)]) is None
    assert EarlyStopCheck([(1.0, 2.0)], 0.1).behind(_curve(9.0)) is None
    assert not EarlyStopCheck([], 0.1).ends(None)


def test_the_first_and_every_eighth_that_would_stop_runs_on():
    assert [n for n in range(20) if audit_due(n)] == [0, 8, 16]


# --- a night's journal ------------------------------------------------------------------------------------------------

STOPPED = Measurement(1, total_s=180.0, behind_nats=0.4, stop_limit_nats=0.2)


def looked_at(made: NightBuilder, gain: float, behind: float, *, limit: float | None = None) -> int:
    """Add a candidate whose first run was compared at half its budget and ran to its end."""
    n = made.candidate(set_to("LR", round(0.001 * len(made.sources), 4)), gain, "discard")
    event = next(e for e in made.events if e["type"] == "measured" and e["n"] == n)
    event["measurement"] = replace(event["measurement"], behind_nats=behind, stop_limit_nats=limit)
    return n


def stopped(made: NightBuilder) -> int:
    n = made.propose("candidate", set_to("WIDTH", 16), made.sources[0], 0.0)
    made.add("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    made.add("measured", seconds=180.0, n=n, run=0, measurement=STOPPED)
    made.decide(n, "discard", early_stop.reason(STOPPED))
    return n


def test_a_night_teaches_how_those_ended_that_were_looked_at() -> None:
    made = NightBuilder(sigma_score=EXACT)
    looked_at(made, -0.05, 0.1)
    looked_at(made, 0.02, -0.1, limit=0.2)
    stopped(made)  # no example, since its end is not known
    found = early_stop.examples(made.night)
    assert found == [
        Example(0.1, pytest.approx(-0.05, abs=1e-6)),
        Example(-0.1, pytest.approx(0.02, abs=1e-6), 0.2),
    ]


def test_the_curve_is_of_the_incumbents_latest_runs() -> None:
    made = NightBuilder()
    for k, event in enumerate(e for e in made.events if e["type"] == "measured"):
        event["measurement"] = replace(event["measurement"], loss_curve=((0.5, float(k)),))
    made.run(0, "incumbent")
    made.events[-1]["measurement"] = replace(made.events[-1]["measurement"], loss_curve=((0.5, 9.0),))
    assert early_stop.curve(made.night.experiments[0]) == [(0.5, 1.0), (0.5, 2.0), (0.5, 9.0)]


def test_what_was_stopped_is_counted_with_its_samples() -> None:
    made = NightBuilder(sigma_score=EXACT)
    assert early_stop.text(made.night) is None
    looked_at(made, -0.05, 0.4, limit=0.2)  # a sample that ended worse than the incumbent
    stopped(made)
    assert early_stop.past_limit(made.night) == 2
    assert early_stop.saved_s(made.night) == pytest.approx(330.0 - 180.0)
    text = early_stop.text(made.night) or ""
    assert "1 of 2 experiments ended at 50%" in text and "150 s saved" in text
    assert "1 more ran on as samples, 0 of them no worse" in text


def test_the_reason_has_both_numbers() -> None:
    assert early_stop.reason(STOPPED) == (
        "stopped at 50% of the budget: its loss was 0.400 nats above the incumbent's (limit 0.200)"
    )
