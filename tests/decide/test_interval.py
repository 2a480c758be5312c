"""The validated interval: known values, its stated rate under every kind of noise, the order of runs, Student's t."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide.interval import Interval, interleaved, paired, t_cdf, t_quantile, top, winner
from autoresearch.metrics import Metric

# --- the interval ----------------------------------------------------------------------------------------------------


def test_known_value():
    """Differences 1, 2, 3, 4, 5: mean 3, standard error sqrt(2.5 / 5), t(0.975, 4) = 2.7764."""
    found = paired([(float(d), 0.0) for d in (1, 2, 3, 4, 5)])
    assert found.gain_score == 3.0
    assert found.high_score - found.gain_score == pytest.approx(2.776445 * math.sqrt(0.5), rel=1e-6)
    assert found.real


def test_says_its_method():
    text = str(Interval(0.0312, 0.0101, 0.0523, 0.95, 5, "paired t"))
    assert text == "0.0312 bpb better, 95% interval +0.0101 to +0.0523 (paired t)"
    assert str(Interval(-0.001, -0.02, 0.018, 0.95, 5, "paired t")).startswith(
        "0.0010 bpb worse, 95% interval -0.0200 to +0.0180"
    )


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (
            Metric(name="p50", unit="ms", scale="log", decimals=6),
            "7.7% better, 95% interval +3.9% to +11.3% (paired t)",
        ),
        (Metric(name="f1", unit="", decimals=6), "0.0800 better, 95% interval +0.0400 to +0.1200 (paired t)"),
        (Metric(name="size", unit="kB", decimals=None), "0.08 kB better, 95% interval +0.04 to +0.12 (paired t)"),
    ],
)
def test_speaks_in_the_metrics_unit(metric, text):
    assert str(Interval(0.08, 0.04, 0.12, 0.95, 5, "paired t", metric)) == text
    assert str(Interval(0.08, 0.08, 0.08, 0.95, 1, metric=metric)).endswith(" better, exact: no interval")


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise",
    [
        lambda rng: rng.normal(size=(4000, 5, 2)),
        lambda rng: rng.normal(size=(4000, 5, 2)) * [1.0, 3.0],
        lambda rng: rng.normal(size=(4000, 5, 2)) + np.linspace(0, 4, 5)[:, None],
        lambda rng: rng.normal(size=(4000, 5, 2)) + 3 * (np.arange(5)[:, None] >= rng.integers(0, 5, (4000, 1, 1))),
    ],
    ids=["alike", "one scatters more", "drift", "step"],
)
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_covers_zero_at_the_stated_rate_on_nulls(noise, level):
    rounds = noise(np.random.default_rng(7))
    covered = np.mean([(i := paired(night.tolist(), level)).low_score <= 0 <= i.high_score for night in rounds])
    assert covered == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 4000))


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=2, max_size=8))
def test_the_interval_holds_the_difference_of_means(rounds):
    found = paired(rounds)
    assert found.low_score <= found.gain_score <= found.high_score
    assert found.gain_score == pytest.approx(np.mean([b - w for b, w in rounds]), abs=1e-12)
    mirrored = paired([(w, b) for b, w in rounds])
    assert mirrored.low_score == pytest.approx(-found.high_score, abs=1e-12)


@pytest.mark.parametrize("rounds", [[], [(1.0, 0.9)], [(1.0, 0.9), (1.0, float("nan"))]])
def test_needs_two_whole_rounds(rounds):
    with pytest.raises(ValueError, match="two whole rounds"):
        paired(rounds)


# --- the order of runs and the choice of the winner ------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 2**31))
def test_interleaving_is_fair(files, rounds, seed):
    order = interleaved(range(files), rounds, seed)
    assert Counter(name for name, _ in order) == dict.fromkeys(range(files), rounds)
    assert Counter(s for _, s in order) == dict.fromkeys(range(seed, seed + rounds), files)
    if rounds % 2 == 0:  # the mean time of each file is the same, so a linear drift cancels
        times = {name: [t for t, (other, _) in enumerate(order) if other == name] for name in range(files)}
        assert len({sum(t) for t in times.values()}) == 1


def test_the_three_best_are_run_again():
    assert top({"a": 1.0, "b": 0.9, "c": 0.95, "d": 0.8}) == ["d", "b", "c"]
    assert top({"a": 1.0}) == ["a"]


def test_the_winner_is_the_best_of_search_and_fresh_runs_together():
    search = {"lucky": (0.90, 2), "solid": (0.92, 4)}
    assert winner(search, {"lucky": [0.96, 0.96], "solid": [0.92, 0.92]}) == "solid"
    assert winner(search, {"lucky": [0.93, 0.92], "solid": [0.92, 0.92]}) == "lucky"


# --- Student's t -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "df", "t"),
    [  # published tables
        (0.975, 1, 12.70620),
        (0.975, 2, 4.302653),
        (0.975, 4, 2.776445),
        (0.95, 7, 1.894579),
        (0.995, 3, 5.840909),
        (0.975, 30, 2.042272),
        (0.9995, 10, 4.586894),
        (0.975, 1e6, 1.959966),
    ],
)
def test_t_quantile(p, df, t):
    assert t_quantile(p, df) == pytest.approx(t, rel=2e-6)


@given(st.floats(0.5, 0.9999), st.floats(1, 300))
def test_t_quantile_inverts_t_cdf(p, df):
    t = t_quantile(p, df)
    assert t_cdf(t, df) == pytest.approx(p, abs=1e-9)
    assert t_cdf(-t, df) == pytest.approx(1 - p, abs=1e-9)


@pytest.mark.parametrize(("p", "df"), [(0.4, 5), (1.0, 5), (0.9, 0.5)])
def test_t_quantile_refuses(p, df):
    with pytest.raises(ValueError, match="t_quantile needs"):
        t_quantile(p, df)
