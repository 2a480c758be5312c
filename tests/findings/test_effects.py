"""Effects of changes: intervals at their stated rate, without the runs that were selected."""

from __future__ import annotations

import math
import random

import pytest

from autoresearch.decide.noise import Noise
from autoresearch.findings import effects, export
from autoresearch.records import Proposal, Set
from testbed.bundles import OPEN
from testbed.honest import BASE
from testbed.night_builder import NightBuilder


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """2,000 effects of 0.01 compare one run with two, with sigma from as few replicates as a night has."""
    rng, inside, df = random.Random(0), 0, 6
    for _ in range(2000):
        runs, against = [rng.gauss(1.0, 0.02)], [rng.gauss(1.01, 0.02) for _ in range(2)]
        sigma = 0.02 * math.sqrt(rng.gammavariate(df / 2, 2) / df)
        found = effects.pooled(runs, against, Noise(sigma, df))
        inside += (found.low_score or 0.0) <= 0.01 <= (found.high_score or 0.0)
    assert 0.935 < inside / 2000 < 0.965


def test_the_run_that_was_picked_is_left_out() -> None:
    """A change that does nothing, kept for two lucky runs: its first run does not count, its controls do."""
    made = NightBuilder(sigma_score=1e-9)
    made.truth[0] = 1.6
    source = BASE.replace("LR = 0.01", "LR = 0.02")
    n = made.propose("candidate", Proposal((Set("LR", "0.02"),), "lucky", "", "other", "tuner"), source, 1.5)
    made.run(n, "search")
    made.truth[n] = 1.6
    made.run(n, "repeat")
    made.decide(n, "keep", delta_score=0.05, sigma_score=0.01, estimate=1.55)
    made.run(n, "incumbent")
    found = export.export(made.night, made.sources.__getitem__, OPEN).findings[n].effect
    assert found is not None and found.gain_score == pytest.approx(0.0, abs=1e-6)
    assert (found.runs, found.against) == (2, 3) and "without the run that was picked" in found.method


def test_a_drift_of_the_machine_is_no_effect() -> None:
    """In the middle of the night everything gets 0.1 worse; a change that does nothing is measured after it."""
    made = NightBuilder(sigma_score=0.002)
    made.run(0, "incumbent", "incumbent", "incumbent")
    made.truth[0] += 0.1
    made.run(0, "incumbent", "incumbent", "incumbent", "incumbent")
    n = made.candidate(Proposal((Set("LR", "0.02"),), "nothing", "", "other", "tuner"), 0.0, "discard")
    found = export.export(made.night, made.sources.__getitem__, OPEN).findings[n].effect
    assert found is not None and abs(found.gain_score) < 0.01


def test_the_validated_gain_is_paired_by_seed() -> None:
    made = NightBuilder()
    n = made.candidate(Proposal((Set("LR", "0.02"),), "faster", "", "other", "tuner"), 0.05, "keep")
    for i in range(4):
        for x in (0, n):
            made.add("started", n=x, run=10 + i, seed=500 + i, machine="m4", purpose="final")
            bpb = made.truth[x] + 0.1 * i  # the drift cancels within a round
            made.add("measured", n=x, run=10 + i, measurement={"seed": 500 + i, "score": bpb})
    total = export.export(made.night, made.sources.__getitem__, OPEN).total
    assert total is not None and total.runs == 4 and "paired t" in total.method
    assert total.low_score == pytest.approx(0.05) and total.high_score == pytest.approx(0.05)
