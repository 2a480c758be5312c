"""Sigma from replicates, the speed adjustment and drift, each against simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide.noise import FLOOR, MOST_PRIOR_DF, UNMEASURED, Noise, drift, pool, speed_fit
from autoresearch.metrics import VAL_BPB

# --- sigma -----------------------------------------------------------------------------------------------------------


def test_without_replicates_the_prior_speaks():
    assert pool([[1.0], [0.9]], Noise(0.02, 5.0)) == Noise(0.02, 5.0)
    assert pool([], value=-20.0) == Noise(20 * UNMEASURED, 1.0)


def test_pools_within_groups_and_never_between():
    together = pool([[1.00, 1.02], [0.50, 0.52]])
    assert together == Noise(pytest.approx(0.02 / math.sqrt(2)), 2)


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=6), st.integers(-30, 30))
def test_knows_no_unit(runs, power):
    """A file's size in bytes has a sigma a million times that of one in megabytes."""
    factor = 2.0**power
    small, large = pool([runs], value=1.0), pool([[run * factor for run in runs]], value=factor)
    assert large == Noise(pytest.approx(small.sigma_score * factor), small.df)


def test_the_average_is_over_log_sigma_by_degrees_of_freedom():
    measured = 0.02 / math.sqrt(2)  # of one pair
    assert pool([[1.00, 1.02]], Noise(0.005, 3.0)).sigma_score == pytest.approx((measured * 0.005**3) ** 0.25)


def test_earlier_nights_count_for_a_dozen_runs_at_most():
    assert pool([], Noise(0.02, 500.0)) == Noise(0.02, MOST_PRIOR_DF)


def test_three_runs_are_not_drawn_to_any_guess():
    """A guess of 0.012 once made a night whose runs scattered by 0.0173 believe in 0.0153."""
    assert pool([[1.0, 1.0173, 0.9827]]) == Noise(pytest.approx(0.0173), 2)


def test_runs_that_agree_by_chance_do_not_prove_a_sigma_of_zero():
    assert pool([[1.0, 1.0]]).sigma_score == FLOOR
    assert pool([[900.0, 900.0]], value=900.0).sigma_score == pytest.approx(900 * FLOOR)


@given(st.lists(st.lists(st.floats(0.5, 2.0), max_size=6), max_size=6))
def test_always_a_usable_sigma(groups):
    noise = pool(groups)
    assert 0 < noise.sigma_score < 2.0
    assert noise.df == max(1, sum(max(0, len(group) - 1) for group in groups))


def test_shrinking_is_closer_than_three_runs_alone():
    rng = np.random.default_rng(1)
    groups = [[list(rng.normal(size=3))] for _ in range(1000)]
    alone = [math.log(pool(g).sigma_score) for g in groups]
    shrunk = [math.log(pool(g, Noise(1.5, 4.0)).sigma_score) for g in groups]
    assert np.mean(np.square(shrunk)) < 0.5 * np.mean(np.square(alone))


# --- speed -----------------------------------------------------------------------------------------------------------


def _replicates(rng, slope, groups=4, runs=4, noise=0.004):
    """Draw (speed index, score) of files of different quality, on a machine whose speed varies by a tenth."""
    made = []
    for quality in np.linspace(1.0, 1.3, groups):
        speed = np.exp(rng.normal(scale=0.1, size=runs))
        made.append([(2.5 * s, quality + slope * math.log(s) + noise * rng.normal()) for s in speed])
    return made


def test_recovers_the_slope_and_takes_the_speed_out():
    rng = np.random.default_rng(2)
    fits = [fit for _ in range(100) if (fit := speed_fit(_replicates(rng, -0.15))) is not None]
    assert len(fits) > 95
    assert np.mean([fit.slope_score for fit in fits]) == pytest.approx(-0.15, abs=0.005)
    assert np.mean([fit.adjusted_sigma_score for fit in fits]) == pytest.approx(0.004, rel=0.1)
    assert np.mean([fit.raw_sigma_score for fit in fits]) > 0.013
    fit = fits[0]
    told = f"{fit.raw_sigma_score:.4f} bpb as measured, and by {fit.adjusted_sigma_score:.4f} bpb"
    assert told in fit.text(VAL_BPB)
    assert fit.adjust(1.2, fit.usual) == pytest.approx(1.2)
    assert fit.adjust(1.2, 1.1 * fit.usual) == pytest.approx(1.2 - fit.slope_score * math.log(1.1))


def test_does_not_adjust_by_chance_nor_the_wrong_way():
    rng = np.random.default_rng(3)
    assert np.mean([speed_fit(_replicates(rng, 0.0)) is not None for _ in range(500)]) < 0.03
    assert speed_fit(_replicates(rng, +0.15)) is None


def test_needs_replicates_and_speeds_that_differ():
    assert speed_fit([]) is None
    assert speed_fit([[(1.0, 1.00), (0.9, 1.02), (1.1, 0.98)]]) is None
    assert speed_fit([[(1.0, 1.0 + 0.01 * i) for i in range(9)]]) is None


# --- drift -----------------------------------------------------------------------------------------------------------


def _controls(rng, shift, at=50.0, files=3, runs=6, sigma=0.01):
    """Draw (time, score) of files that run in turn over 100 units of time."""
    made = []
    for quality in np.linspace(1.0, 0.9, files):
        times = np.sort(rng.uniform(0, 100, runs))
        made.append([(t, quality + shift * (t >= at) + sigma * rng.normal()) for t in times])
    return made


@pytest.mark.parametrize("shift", [0.04, -0.04])
def test_finds_a_change_of_level(shift):
    rng = np.random.default_rng(4)
    found = [change for _ in range(200) if (change := drift(_controls(rng, shift), Noise(0.01, 4.0)))]
    assert len(found) > 180
    assert np.mean([change.shift_score for change in found]) == pytest.approx(shift, rel=0.1)
    assert np.median([change.since for change in found]) == pytest.approx(52, abs=6)
    assert all(math.copysign(1, change.z) == math.copysign(1, shift) for change in found)


def test_a_steady_machine_rarely_alarms():
    rng = np.random.default_rng(5)
    assert np.mean([drift(_controls(rng, 0.0), Noise(0.01, 4.0)) is not None for _ in range(1000)]) < 0.035


def test_a_slow_drift_shows_too():
    rng = np.random.default_rng(6)
    groups = [[(t, 1.0 + 0.0005 * t + 0.01 * rng.normal()) for t in range(0, 101, 7)]]
    change = drift(groups, Noise(0.01, 4.0))
    assert change is not None
    assert 0.01 < change.shift_score < 0.05


def test_nothing_is_said_from_single_runs():
    assert drift([]) is None
    assert drift([[(0.0, 1.0)], [(9.0, 2.0)]]) is None
    assert drift([[(0.0, 1.0), (9.0, 2.0)]]) is None
    assert drift([[(5.0, 1.0), (5.0, 1.1), (5.0, 1.2)]]) is None
