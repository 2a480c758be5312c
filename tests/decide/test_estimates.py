"""Estimates of experiments from the journal: their runs, pseudo-run and re-runs, and a drift."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.decide import estimates
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.noise import Drift, Noise, SpeedFit
from testbed.night_builder import EXACT, NightBuilder, set_to

NOISE = Noise(0.004, 10.0)


def night_of(*gains: float, sigma_score: float = EXACT) -> NightBuilder:
    """Return a night that keeps one idea after the other, each with its given true gain."""
    made = NightBuilder(sigma_score=sigma_score)
    for k, gain in enumerate(gains):
        made.candidate(set_to("DEPTH", 3 + k), gain, "keep")
    return made


def test_a_baseline_is_the_mean_of_its_runs() -> None:
    baseline = night_of(sigma_score=0.004).night.experiments[0]
    found = Estimates(NOISE).estimate(baseline)
    assert found.mean == pytest.approx(sum(baseline.scores) / 3) and found.n == 3


def test_a_kept_candidate_is_held_back_towards_what_it_replaced() -> None:
    x = night_of(0.1).night.experiments[1]
    found = Estimates(NOISE).estimate(x)
    assert 1.5 < found.mean < 1.6  # two runs at 1.5, and the pseudo-run at the old incumbent's level


def test_re_runs_of_the_incumbent_count_and_final_runs_do_not() -> None:
    made = night_of(0.1)
    before = Estimates(NOISE).estimate(made.night.experiments[1])
    made.run(1, "incumbent")
    after = Estimates(NOISE).estimate(made.night.experiments[1])
    assert after.n == before.n + 1 and after.mean < before.mean  # a third run at 1.5
    made.run(1, "final")
    assert Estimates(NOISE).estimate(made.night.experiments[1]) == after


def test_after_a_drift_only_later_runs_count() -> None:
    made = night_of(0.1)
    made.truth[1] = 1.7
    made.run(1, "incumbent")
    x = made.night.experiments[1]
    since = max(run.started for run in x.runs.values())
    found = Estimates(NOISE, drift=Drift(since, 0.2, 9.0)).estimate(x)
    assert (found.mean, found.n) == (pytest.approx(1.7), 1)


def test_without_a_measured_run_there_is_no_estimate() -> None:
    made = night_of()
    n = made.crash(set_to("DEPTH", 9))
    with pytest.raises(ValueError, match="finite runs"):
        Estimates(NOISE).estimate(made.night.experiments[n])


def test_sigma_is_read_from_runs_of_one_source() -> None:
    made = NightBuilder(sigma_score=0.02)
    for _ in range(12):
        made.run(0, "incumbent")
    alone = estimates.read(made.night).noise.sigma_score
    assert alone == pytest.approx(0.02, rel=0.5)
    assert estimates.read(made.night, Noise(0.5, 12.0)).noise.sigma_score > 2 * alone  # the prior counts


def test_gains_of_what_was_kept_and_what_simplifications_gave_up() -> None:
    made = night_of(0.1, 0.02)
    now = estimates.read(made.night)
    assert estimates.kept_gains(made.night) == pytest.approx([0.1, 0.02], abs=1e-6)
    assert estimates.given_up_sigma(made.night, now) == 0.0
    worse = made.candidate(set_to("WIDTH", 16), -0.05, "keep")  # a simplification
    assert made.night.incumbent_n == worse
    assert estimates.given_up_sigma(made.night, estimates.read(made.night)) > 0


def test_a_value_is_corrected_to_the_usual_speed() -> None:
    run = night_of().night.experiments[0].runs[0]
    assert run.measurement is not None and run.measurement.score is not None
    slow = replace(run, measurement=replace(run.measurement, speed_index=0.9))
    fit = SpeedFit(-0.2, 1.0, 0.01, 0.005, 8)
    assert Estimates(NOISE).value(slow) == run.measurement.score
    assert Estimates(NOISE, fit).value(slow) == pytest.approx(fit.adjust(run.measurement.score, 0.9))
    assert Estimates(NOISE, fit).value(replace(run, measurement=None)) is None
