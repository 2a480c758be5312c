"""Paired tests over cases: known values, and how often the interval covers the truth for cases drawn anew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide import cases
from autoresearch.decide.interval import paired
from autoresearch.metrics import Metric

F1 = Metric(name="f1", unit="", direction="higher", decimals=6)
binary = st.sampled_from([0.0, 1.0])


def outcomes(better: int, worse: int, same: int) -> cases.Cases:
    """Return right (0) and wrong (1) of an incumbent and a candidate that differ on so many cases."""
    return [1.0] * better + [0.0] * worse + [0.0] * same, [0.0] * better + [1.0] * worse + [0.0] * same


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        (0, 0, 0.5),
        (5, 0, 0.5**6),
        (6, 1, (1 + 7 / 2) / 2**7),  # P(7) + P(6) / 2 of seven coins
        (1, 1, 0.5),
        (0, 4, 1 - 0.5**5),
        (900, 800, 0.0076),  # z = 100 / sqrt(1700) = 2.425
    ],
)
def test_mcnemar(better, worse, p):
    assert cases.compare(outcomes(better, worse, 20)).p == pytest.approx(p, rel=0.01)


def test_says_which_test_spoke():
    assert str(cases.compare(outcomes(8, 2, 190))) == "McNemar p = 0.033 over 200 cases"
    assert str(cases.compare(([3.0, 2.0, 3.0], [1.0, 1.0, 2.5]))) == "paired t p = 0.059 over 3 cases"
    assert str(cases.compare(([3.0, 2.0, 9.0], [2.0, 1.0, 8.0]))) == "paired t p < 0.001 over 3 cases"


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=9))
def test_a_test_turns_round(pairs):
    first, second = zip(*pairs, strict=True)
    there, back = cases.compare((first, second)), cases.compare((second, first))
    assert 0 <= there.p <= 1
    if any(a != b for a, b in pairs):
        assert there.p + back.p == pytest.approx(1, abs=1e-6)


@given(st.lists(st.tuples(binary, binary), min_size=2, max_size=60))
def test_the_interval_holds_the_gain(pairs):
    first, second = zip(*pairs, strict=True)
    gain = np.mean(first) - np.mean(second)
    found = cases.interval((first, second), gain, F1)
    assert found.low_score <= found.gain_score <= found.high_score
    assert found.high_score > found.low_score


def test_many_valued_cases_are_a_paired_t():
    pairs = [(1.0, 0.5), (2.0, 1.0), (3.0, 2.5)]
    first, second = zip(*pairs, strict=True)
    ours, theirs = cases.interval((first, second), 2 / 3, F1), paired(pairs)
    assert (ours.low_score, ours.high_score) == pytest.approx((theirs.low_score, theirs.high_score))
    assert str(ours).endswith("(paired by 3 cases)")


@pytest.mark.parametrize("bad", [([], []), ([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_needs_the_same_cases(bad):
    with pytest.raises(ValueError, match="the same two cases"):
        cases.compare(bad)


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_covers_the_truth_for_cases_drawn_anew(n, gain):
    rng, nights = np.random.default_rng(8), 1500
    covered = 0
    for _ in range(nights):
        u, wrong = rng.random(n), rng.random(n) < 0.4
        second = np.where(u < 0.1, ~wrong, wrong) & ~(rng.random(n) < 2 * gain)
        truth = 0.4 - (0.4 * 0.9 + 0.6 * 0.1) * (1 - 2 * gain)
        pairs = (wrong.astype(float).tolist(), second.astype(float).tolist())
        found = cases.interval(pairs, float(np.mean(wrong) - np.mean(second)), F1)
        covered += found.low_score <= truth <= found.high_score
    assert covered / nights >= 0.935  # more with 20 cases of which few differ, where no interval can be exact
