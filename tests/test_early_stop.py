"""The early stop: off until calibrated, never before half the budget, and under 2% of winners lost."""

import numpy as np
import pytest

from autoresearch.early_stop import CONTENDERS, Finished, audit_due, calibrate, should_stop
from benchmarks.night_statistics import finished


def _curve(offset, points=40):
    return [(p, 3.0 - 0.5 * p + offset) for p in np.linspace(0.025, 1.0, points).tolist()]


def _history(contenders, losers, seed=0):
    rng = np.random.default_rng(seed)
    good = [Finished(_curve(0.01 * rng.normal()), _curve(0.0), 0.004) for _ in range(contenders)]
    bad = [Finished(_curve(0.3 + 0.01 * rng.normal()), _curve(0.0), -0.1) for _ in range(losers)]
    return good + bad


def test_is_off_until_enough_contenders_are_known():
    assert calibrate([]) is None
    assert calibrate(_history(CONTENDERS - 1, 50)) is None
    assert calibrate(_history(CONTENDERS + 8, 20)) is not None


def test_is_off_where_it_would_save_nothing():
    assert calibrate(_history(30, 0)) is None


def test_is_off_where_contenders_look_like_losers_at_half_the_budget():
    slow_starters = [Finished(_curve(0.35), _curve(0.0), 0.02)]
    assert calibrate(_history(20, 20)) is not None
    assert calibrate(_history(20, 20) + slow_starters) is None


def test_the_limit_clears_every_contender_and_says_what_it_saves():
    rule = calibrate(_history(20, 20))
    assert rule is not None
    assert 0.0 < rule.limit_nats < 0.2
    assert rule.contenders == 20
    assert rule.stopped == 0.5
    assert rule.saving == 0.25
    assert str(rule).endswith("50% of experiments, 25% of training time (from 20 contenders)")


@pytest.mark.parametrize(
    ("offset", "progress", "schedule_changed", "stops"),
    [
        (0.3, 0.5, False, True),
        (0.3, 0.8, False, True),
        (0.3, 0.49, False, False),
        (0.3, 0.5, True, False),
        (0.01, 0.5, False, False),
        (-0.3, 0.5, False, False),
    ],
)
def test_should_stop(offset, progress, schedule_changed, stops):
    rule = calibrate(_history(20, 20))
    so_far = [(p, loss) for p, loss in _curve(offset) if p <= progress]
    assert should_stop(rule, so_far, _curve(0.0), progress, schedule_changed=schedule_changed) is stops


def test_without_a_rule_or_a_curve_nothing_is_stopped():
    rule = calibrate(_history(20, 20))
    assert not should_stop(None, _curve(9.0), _curve(0.0), 0.6)
    assert not should_stop(rule, [], _curve(0.0), 0.6)
    assert not should_stop(rule, _curve(9.0), [(1.0, 2.0)], 0.6)


def test_experiments_without_a_curve_do_not_count():
    blank = [Finished([], [], 0.01) for _ in range(50)]
    assert calibrate(blank) is None
    assert calibrate(_history(20, 20) + blank) == calibrate(_history(20, 20))


def test_loses_under_two_percent_of_winners():
    rng = np.random.default_rng(11)
    lost = []
    for _ in range(40):
        rule = calibrate([finished(rng) for _ in range(200)])
        fresh = [finished(rng) for _ in range(60)]
        lost += [should_stop(rule, x.curve, x.incumbent_curve, 0.5) for x in fresh if x.delta_bpb > 0]
    assert len(lost) > 500
    assert np.mean(lost) < 0.02


def test_the_first_and_every_eighth_that_would_stop_runs_on():
    assert [n for n in range(20) if audit_due(n)] == [0, 8, 16]
