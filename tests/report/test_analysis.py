"""The figures of a report: gain, stack, noise, crashes, and the machine's night."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest

from autoresearch.decide import estimates
from autoresearch.report import analysis
from autoresearch.report import page as report
from testbed import nights
from testbed.nights import changed

MADE = nights.long_night()
NIGHT, SOURCE_OF = MADE.night, MADE.sources.__getitem__


@cache
def shown() -> str:
    """Return the report of the night, drawn once for the tests that read it."""
    return report.render(NIGHT, SOURCE_OF)


@pytest.mark.slow
def test_the_headline_is_the_validated_gain_with_its_interval() -> None:
    h = analysis.headline(NIGHT)
    assert h.interval is not None and h.interval.rounds == 5 and h.interval.real
    assert h.gain_score == h.interval.gain_score == pytest.approx(0.157, abs=0.01)
    assert (h.experiments, h.keeps + h.discards + h.crashes) == (60, 60)
    assert f"<h1>{h.gain_score:.3f} bits per byte better</h1>" in shown()
    assert f"95% interval +{h.interval.low_score:.4f} to +{h.interval.high_score:.4f}, 5 interleaved rounds" in shown()


@pytest.mark.slow
def test_the_stack_is_the_incumbent_s_ancestry_with_diffs_and_effects() -> None:
    kept = analysis.kept_changes(NIGHT)
    assert [k.experiment.n for k in kept] == [x.n for x in NIGHT.experiments.values() if x.verdict == "keep"][1:]
    for k in kept:
        assert f"+{k.gain_score:.4f} ± {k.error_score:.4f}" in shown()
        assert f'<span class="add">+EXTRA = <b>{k.experiment.n}</b></span>' in shown()


@pytest.mark.slow
def test_noise_lists_the_lucky_first_runs() -> None:
    lucky = analysis.lucky_discards(NIGHT)
    assert lucky
    for discard in lucky:
        assert discard.experiment.verdict == "discard" and discard.first_gain_score > 0.5 * nights.SIGMA
    assert f"{len(lucky)} of {analysis.headline(NIGHT).discards} discarded candidates looked better" in shown()


@pytest.mark.slow
def test_crashes_are_grouped_by_cause() -> None:
    groups = analysis.crashes(NIGHT)
    assert {g.kind for g in groups} == {"memory", "diverged", "warmup", "probe_causality"}
    assert sum(len(g.crashes) for g in groups) == analysis.headline(NIGHT).crashes
    assert f"{len(groups[0].crashes)} × {groups[0].kind}" in shown() and "did not fit into memory" in shown()
    assert "greater than the maximum allowed buffer size" in shown()


def test_contract_violations_and_quarantined_experiments_are_crashes_with_a_cause() -> None:
    def change(event: dict[str, Any]) -> None:
        if event["type"] == "decided" and event["n"] == 2:
            event |= {
                "verdict": "crash",
                "reason": "contract: line 3: import os",
                "estimate": None,
                "delta_score": None,
            }

    night = changed(change)
    assert ("contract", 1) in [(g.kind, len(g.crashes)) for g in analysis.crashes(night)]


def test_categories_add_up() -> None:
    tallies = analysis.by_category(NIGHT)
    assert sum(t.total for t in tallies) == 60
    kept = sum(k.gain_score or 0 for k in analysis.kept_changes(NIGHT))
    assert sum(t.gain_score for t in tallies) == pytest.approx(kept)


def test_the_running_best_only_falls() -> None:
    line = analysis.best_line(NIGHT, estimates.read(NIGHT))
    assert len(line) > 4 and all(a[0] < b[0] and a[1] > b[1] for a, b in itertools.pairwise(line))
