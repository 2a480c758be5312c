"""Binomial noise: known values in every scale, and how often the interval covers the truth."""

import numpy as np
import pytest

from autoresearch.decide import counts
from autoresearch.metrics import Metric
from autoresearch.records import Measurement

RATE = Metric(name="conversions", unit="", direction="higher", scatter="counts", decimals=6)


def run(successes: float, trials: float, metric: Metric = RATE, value: float | None = None) -> Measurement:
    figures = {"successes": successes, "trials": trials}
    return Measurement(0, score=metric.score(successes / trials if value is None else value), figures=figures)


@pytest.mark.parametrize(
    ("metric", "value", "sigma"),
    [
        (RATE, None, 0.03),
        (Metric(name="percent", direction="higher", scatter="counts", decimals=6), 10.0, 3.0),
        (Metric(name="failures", scatter="counts", decimals=6), 0.9, 0.03),
        (Metric(name="failing_percent", scatter="counts", decimals=6), 90.0, 3.0),
        (Metric(name="conversions", direction="higher", scale="log", scatter="counts", decimals=6), None, 0.3),
    ],
)
def test_sigma_of_a_run(metric, value, sigma):
    """Of 100 trials with a rate of 0.1: sqrt(0.1 * 0.9 / 100)."""
    found = counts.sigma([run(10, 100, metric, value)] * 40, metric)
    assert found == pytest.approx(sigma, rel=0.01)


def test_nothing_is_certain_after_20_trials():
    found = counts.sigma([run(0, 20)], RATE)
    assert found is not None and 0.03 < found < 0.06


def test_a_rate_of_zero_takes_its_scale_from_other_versions():
    percent = Metric(name="percent", direction="higher", scatter="counts", decimals=6)
    none, some = run(0, 100, percent, 0.0), run(10, 100, percent, 10.0)
    found, in_rates = counts.sigma([none], percent, [none, some]), counts.sigma([run(0, 100)], RATE)
    assert found is not None and in_rates is not None and found == pytest.approx(100 * in_rates)
    before, after = counts.count([none], percent), counts.count([some], percent)
    assert before is not None and after is not None
    assert counts.difference_error(before, after, percent) > 100 * in_rates
    assert counts.difference_error(before, before, percent, [some]) > 100 * in_rates


def test_without_counts_there_is_no_binomial_noise():
    assert counts.sigma([Measurement(0, score=-0.1)], RATE) is None
    assert counts.count([run(1, 10), Measurement(0, score=-0.1)], RATE) is None
    assert counts.count([], RATE) is None


def test_the_interval_says_its_method():
    before, after = counts.count([run(90, 1000)] * 2, RATE), counts.count([run(120, 1000)] * 2, RATE)
    assert before is not None and after is not None
    found = counts.interval(before, after, RATE, 2)
    assert str(found) == "0.0300 better, 95% interval +0.0110 to +0.0490 (binomial, 2,000 and 2,000 trials)"


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(("rates", "trials"), [((0.1, 0.1), 500), ((0.05, 0.08), 1000), ((0.5, 0.6), 100)])
def test_covers_the_truth(rates, trials, scale):
    metric = Metric(name="conversions", direction="higher", scale=scale, scatter="counts", decimals=6)
    rng, truth = np.random.default_rng(5), metric.score(rates[0]) - metric.score(rates[1])
    covered, nights = 0, 2000
    for drawn in rng.binomial(trials, rates, (nights, 2)):
        before, after = (counts.count([run(float(s), trials, metric)], metric) for s in drawn)
        assert before is not None and after is not None
        found = counts.interval(before, after, metric, 1)
        covered += found.low_score <= truth <= found.high_score
    assert covered / nights == pytest.approx(0.95, abs=0.02)
