"""Whether a newcomer of a fleet measures as its class does."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide.keep_rule import Estimate
from autoresearch.decide.newcomer import MOST_RUNS, RUNS, Compared, compare
from autoresearch.decide.noise import EXACT, Noise, pool

CLASS = Estimate((1.49, 1.50, 1.51))


@pytest.mark.parametrize(
    ("own", "noise", "verdict"),
    [
        ((1.51, 1.52), Noise(0.01, 20), "alike"),
        ((1.527, 1.525), Noise(0.01, 20), "alike"),  # 2.6 sigma of one run, 2.9 standard errors
        ((1.54, 1.53), Noise(0.01, 20), "other"),
        ((1.46, 1.47), Noise(0.01, 20), "other"),  # a better one is another machine as well
        ((1.54, 1.53), Noise(0.01, 2), None),  # sigma is known from three runs alone
        ((1.70, 1.71), Noise(0.01, 2), "other"),
        ((1.54, 1.53) * 3, Noise(0.01, 2), "other"),
        ((1.50, 1.50), EXACT, "alike"),
        ((1.50, 1.50 + 1e-9), EXACT, "other"),
    ],
)
def test_verdicts(own: tuple[float, ...], noise: Noise, verdict: str | None) -> None:
    found = compare(own, CLASS, noise)
    assert found.verdict == verdict
    assert found.shift_score == pytest.approx(fmean(own) - 1.50)


@given(st.lists(st.floats(1.0, 2.0), min_size=RUNS, max_size=MOST_RUNS), st.floats(1e-4, 0.5), st.floats(1, 1e6))
def test_better_and_worse_by_as_much_are_as_far_off(own: list[float], sigma: float, df: float) -> None:
    mirrored = [2 * CLASS.mean - score for score in own]
    one, other = compare(own, CLASS, Noise(sigma, df)), compare(mirrored, CLASS, Noise(sigma, df))
    assert one.z is not None and other.z is not None and one.z == pytest.approx(-other.z, abs=1e-6)
    assert one.verdict is not None or len(own) < MOST_RUNS


def _joins(rng: random.Random, shift: float) -> tuple[Compared, int]:
    """Let a newcomer `shift` sigma off join a class on its first night, which knows sigma from three runs."""
    baseline, own = [rng.gauss(0, 1) for _ in range(3)], list[float]()
    while True:
        own += [rng.gauss(shift, 1) for _ in range(RUNS)]
        found = compare(own, Estimate(tuple(baseline)), pool([baseline]))
        if found.verdict is not None:
            return found, len(own)


def test_an_equal_machine_is_seldom_sent_off_and_one_far_off_seldom_let_in() -> None:
    rng = random.Random(0)
    equal, far = ([_joins(rng, shift) for _ in range(400)] for shift in (0, 6))
    assert sum(found.verdict == "other" for found, _ in equal) <= 12  # 1.2% in 4,000
    assert sum(found.verdict == "other" for found, _ in far) >= 385  # 99%
    assert fmean(runs for _, runs in equal) < 2.3
