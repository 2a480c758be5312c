"""The early stop: off until calibrated, and never before half the budget."""

import numpy as np
import pytest

from autoresearch.decide.early_stop import AUDIT_EVERY, CONTENDERS, EarlyStopCheck, Finished, audit_due, calibrate


def _curve(offset, points=40):
    return [(p, 3.0 - 0.5 * p + offset) for p in np.linspace(0.025, 1.0, points).tolist()]


def _history(contenders, losers, limit_nats=None, seed=0):
    rng = np.random.default_rng(seed)
    good = [Finished(0.01 * rng.normal(), 0.004, limit_nats) for _ in range(contenders)]
    return good + [Finished(0.3 + 0.01 * rng.normal(), -0.1) for _ in range(losers)]


def test_is_off_until_enough_contenders_are_known():
    assert calibrate([]) is None
    assert calibrate(_history(CONTENDERS - 1, 50)) is None
    assert calibrate(_history(CONTENDERS + 8, 20)) is not None


def test_is_off_where_it_would_save_nothing():
    assert calibrate(_history(30, 0)) is None


def test_is_off_where_contenders_look_like_losers_at_half_the_budget():
    assert calibrate(_history(20, 20)) is not None
    assert calibrate([*_history(20, 20), Finished(0.35, 0.02)]) is None


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
    loser, winner = Finished(0.2, -0.1, 0.1), Finished(0.2, 0.02, 0.1)
    assert loser.weight == winner.weight == AUDIT_EVERY
    assert calibrate([*many, Finished(0.2, 0.02)]) is not None  # one of 201 contenders, before the rule was on
    assert calibrate([*many, winner]) is None  # now one of 1 in 8, so it speaks for eight
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
