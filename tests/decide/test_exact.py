"""The rule for a metric that does not scatter: ties, least gains, cases, simplifications."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide import exact
from autoresearch.metrics import Metric

SIZE = Metric(name="size", unit="kB", scatter="exact", min_gain=0.5, decimals=None)
WRONG = Metric(name="errors", unit="", scatter="exact", decimals=6)


@pytest.mark.parametrize(
    ("candidate", "simpler", "verdict", "reason"),
    [
        (11.0, False, "keep", "1 kB better; the metric is exact"),
        (11.9, False, "discard", "0.1 kB better, less than the 0.5 kB that a change has to gain"),
        (11.9, True, "keep", "0.1 kB better, and simpler"),
        (12.0, False, "discard", "the same value"),
        (12.0, True, "keep", "the same value, and simpler"),
        (12.0 + 1e-13, False, "discard", "the same value"),
        (12.1, True, "discard", "0.1 kB worse"),
    ],
)
def test_verdicts_without_cases(candidate, simpler, verdict, reason):
    decision = exact.decide(candidate, 12.0, SIZE, simplifies=simpler)
    assert (decision.verdict, decision.reason, decision.rerun) == (verdict, reason, None)
    assert decision.sigma_score is decision.z is None


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e60])
def test_a_value_of_any_size_is_told_from_another(unit):
    metric = Metric(name="residue", unit="", scatter="exact")
    assert exact.decide(metric.score(2 * unit), metric.score(3 * unit), metric).verdict == "keep"
    assert exact.decide(metric.score(3 * unit * (1 - 1e-14)), metric.score(3 * unit), metric).verdict == "discard"


def test_a_size_on_a_log_scale_is_told_in_percent():
    metric = Metric(name="size", unit="kB", scale="log", scatter="exact", decimals=6)
    decision = exact.decide(metric.score(9.0), metric.score(10.0), metric)
    assert decision.reason == "10.0% better; the metric is exact"


@pytest.mark.parametrize(
    ("better", "worse", "verdict", "reason"),
    [
        (8, 2, "keep", "0.0300 better, McNemar p = 0.033 over 200 cases"),
        (1, 0, "discard", "0.0050 better, McNemar p = 0.25 over 200 cases, which may be chance"),
        (3, 3, "discard", "the same value"),
        (0, 9, "discard", "0.0450 worse"),
    ],
)
def test_cases_decide(better, worse, verdict, reason):
    first = [1.0] * better + [0.0] * (200 - better)
    second = [0.0] * better + [1.0] * worse + [0.0] * (200 - better - worse)
    decision = exact.decide(sum(second) / 200, sum(first) / 200, WRONG, (first, second))
    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_fewer_cases_are_no_gain():
    decision = exact.decide(0.0, 0.5, WRONG, ([1.0, 0.0, 1.0, 0.0], [0.0, 0.0]))
    assert (decision.verdict, "over 2 cases, where the incumbent has 4" in decision.reason) == ("discard", True)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.booleans())
def test_what_is_no_better_is_never_kept_unless_it_is_simpler(score, worse, simpler):
    decision = exact.decide(score + worse, score, WRONG, simplifies=simpler)
    assert decision.verdict == ("keep" if simpler and exact.same(score + worse, score, WRONG) else "discard")
