"""The baseline and the validated result: one answer for every screen, whatever became of the night's baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from autoresearch.decide import validation
from autoresearch.decide.interval import paired
from autoresearch.findings import effects
from autoresearch.metrics import Metric
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal
from autoresearch.record.night import Night
from autoresearch.report import analysis, status
from testbed.journals import OPENED, baseline, decided, measured, proposed


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(Layout(tmp_path, "t")) as journal:
        journal.append("opened", **OPENED)
        yield journal


def kept(journal: Journal, *scores: float) -> int:
    n = proposed(journal)
    for bpb in scores:
        measured(journal, n, bpb)
    decided(journal, n, "keep", scores[0])
    return n


def failed_baseline(journal: Journal) -> int:
    n = proposed(journal, "baseline")
    measured(journal, n, None)
    decided(journal, n, "crash")
    return n


def final(journal: Journal, n: int, *scores: float, first_seed: int = 9000) -> None:
    for seed, bpb in enumerate(scores, first_seed):
        run = journal.night.experiments[n].next_run
        journal.append("started", n=n, run=run, seed=seed, machine="m4", purpose="final")
        journal.append("measured", n=n, run=run, measurement={"seed": seed, "score": bpb})


def number_of(night: Night) -> int | None:
    found = validation.baseline_of(night)
    return None if found is None else found.n


def test_no_screen_disagrees_on_a_second_baseline(journal: Journal) -> None:
    """An update of MLX moved the baseline from 1.601 to 1.541, and a change since then reached 1.534."""
    baseline(journal, 1.601)
    kept(journal, 1.590, 1.591)
    second = baseline(journal, 1.541)
    kept(journal, 1.534, 1.5336)
    night = journal.night
    assert number_of(night) == second
    headline = analysis.headline(night)
    assert headline.baseline_score == pytest.approx(1.541)
    assert headline.gain_score == pytest.approx(0.0072, abs=0.005)
    first, last = headline.baseline_score, headline.best_score
    assert f"val_bpb {first:.6f} -> {last:.6f}" in status.text(night)


def test_a_failed_baseline_is_passed_over(journal: Journal) -> None:
    """A baseline without a finite run has no estimate, so `status` has to pass it over."""
    failed_baseline(journal)
    assert number_of(journal.night) is None and "score" not in status.text(journal.night)
    mended = baseline(journal, 1.5)
    kept(journal, 1.4, 1.41)
    assert number_of(journal.night) == mended
    assert "val_bpb 1.500000 -> " in status.text(journal.night)


def test_a_second_baseline_counts_once_it_is_measured(journal: Journal) -> None:
    first = baseline(journal, 1.5)
    best = kept(journal, 1.4, 1.41)
    final(journal, first, 1.50, 1.52)
    final(journal, best, 1.40, 1.41)
    before = validation.text(journal.night)
    second = proposed(journal, "baseline")
    assert number_of(journal.night) == first and validation.text(journal.night) == before
    measured(journal, second, 1.3)
    assert number_of(journal.night) == first
    decided(journal, second, "keep", 1.3)
    assert number_of(journal.night) == second


@pytest.mark.parametrize("ends", ["abandoned", "failed"])
def test_a_second_baseline_that_was_not_measured_changes_nothing(journal: Journal, ends: str) -> None:
    first = baseline(journal, 1.5)
    kept(journal, 1.4, 1.41)
    if ends == "failed":
        failed_baseline(journal)
    else:
        n = proposed(journal, "baseline")
        journal.append("started", n=n, run=0, seed=1, machine="m4", purpose="search")
        journal.append("abandoned", n=n, run=0, why="stopped by Ctrl-C")
    assert number_of(journal.night) == first


def test_rounds_are_paired_by_seed(journal: Journal) -> None:
    first = baseline(journal, 1.5)
    best = kept(journal, 1.4, 1.41)
    final(journal, first, 1.50, 1.52, 1.51)
    final(journal, best, 1.40)
    assert validation.validated(journal.night) is None and validation.text(journal.night) is None
    final(journal, best, 1.41, first_seed=9001)
    final(journal, best, 1.39, first_seed=9007)  # the baseline has no such round
    night = journal.night
    assert validation.rounds(night, night.experiments[best]) == [(1.50, 1.40), (1.52, 1.41)]
    assert validation.validated(night) == paired([(1.50, 1.40), (1.52, 1.41)])
    shared = effects.validated(night)
    assert shared is not None and shared.gain_score == analysis.headline(night).gain_score == pytest.approx(0.105)
    assert str(validation.validated(night)) in status.text(night)


def test_the_validation_of_another_line_does_not_count(journal: Journal) -> None:
    """Five rounds against the first baseline do not count against the second, although their seeds are the same."""
    old = [baseline(journal, 1.5), kept(journal, 1.4, 1.41)]
    for n in old:
        final(journal, n, 1.5, 1.5, 1.4, 1.5, 1.5)
    new = [baseline(journal, 1.3), kept(journal, 1.2, 1.21)]
    night = journal.night
    assert validation.winner_of(night) is None and validation.validated(night) is None
    for n, scores in zip(new, [(1.30, 1.32), (1.20, 1.21)], strict=True):
        final(journal, n, *scores)
    winner = validation.winner_of(journal.night)
    assert winner is not None and winner.n == new[1]
    interval = validation.validated(journal.night)
    assert interval is not None and interval.rounds == 2


@pytest.mark.parametrize(("rounds", "wins"), [((2, 3), 1), ((3, 2), 0), ((2, 2), 1)])
def test_the_winner_has_the_most_rounds(journal: Journal, rounds: tuple[int, int], wins: int) -> None:
    first = baseline(journal, 1.5)
    both = [kept(journal, 1.4, 1.41), kept(journal, 1.3, 1.31)]
    final(journal, first, 1.50, 1.52, 1.51)
    for n, count in zip(both, rounds, strict=True):
        final(journal, n, *[1.4] * count)
    winner = validation.winner_of(journal.night)
    assert winner is not None and winner.n == both[wins]
    told = validation.text(journal.night)
    assert told is not None and ("not the branch's last" in told) is (wins == 0)


# --- other kinds of metrics ------------------------------------------------------------------------------------------

CASES = {"cases": (1.0, 1.0, 1.0, 1.0, 0.0, 0.0)}, {"cases": (0.0,) * 6}
FEWER = CASES[0], {"cases": (0.0,) * 5}
COUNTS = {"figures": {"successes": 500, "trials": 1000}}, {"figures": {"successes": 400, "trials": 1000}}


def opened(tmp_path: Path, metric: Metric) -> Journal:
    journal = Journal(Layout(tmp_path, "any"))
    journal.append("opened", **{**OPENED, "task": {"name": "any", "metric": metric}})
    return journal


def exactly(journal: Journal, baseline_score: float, score: float) -> None:
    """Write a night of two experiments whose decisions know of no sigma."""
    for role, value in (("baseline", baseline_score), ("candidate", score)):
        n = proposed(journal, role)
        measured(journal, n, value)
        figures = {"delta_score": baseline_score - value, "estimate": value}
        journal.append("decided", n=n, verdict="keep", reason="r", parent_commit="c0", blob="b0", **figures)


def one_round(journal: Journal, scores: Sequence[float], others: Sequence[Mapping[str, object]], seed: int = 1) -> None:
    for n, (score, other) in enumerate(zip(scores, others, strict=True)):
        run = journal.night.experiments[n].next_run
        journal.append("started", n=n, run=run, seed=seed, machine="m4", purpose="final")
        journal.append("measured", n=n, run=run, measurement={"seed": seed, "score": score, **other})


@pytest.mark.parametrize(
    ("scatter", "scores", "others", "text"),
    [
        ("exact", (0.7, 0.5), ({}, {}), "0.2000 better, exact: no interval"),
        ("exact", (4 / 6, 0.0), CASES, "0.6667 better, 95% interval +0.0757 to +0.9243 (paired by 6 cases)"),
        ("exact", (0.7, 0.5), FEWER, "0.2000 better, exact: no interval"),
        ("counts", (0.5, 0.4), COUNTS, "0.1000 better, 95% interval +0.0567 to +0.1433 (binomial, 1,000 and 1,000 tr"),
    ],
)
def test_one_round_is_enough(tmp_path, scatter, scores, others, text) -> None:
    with opened(tmp_path, Metric(name="errors", unit="", scatter=scatter, decimals=6)) as journal:
        exactly(journal, 0.7, 0.4)
        assert validation.validated(journal.night) is None
        one_round(journal, scores, others)
        told = validation.text(journal.night)
        gap = 0.3 - (scores[0] - scores[1])
        assert told is not None
        assert told.startswith(f"search: 0.3000 better (optimistic); validated on what was hidden: {text}")
        assert told.endswith(f"the search's figure is {abs(gap):.4f} {'higher' if gap > 0 else 'lower'}")


@pytest.mark.parametrize(("shift", "method"), [(0.0, "binomial"), (0.2, "paired t")])
def test_counts_that_scatter_too_much_are_not_binomial(tmp_path, shift, method) -> None:
    with opened(tmp_path, Metric(name="errors", unit="", scatter="counts", decimals=6)) as journal:
        baseline(journal, 0.5)
        kept(journal, 0.4)
        for seed in range(4):
            one_round(journal, (0.5, 0.4 + shift * (seed % 2)), COUNTS, seed)
        found = validation.validated(journal.night)
        assert found is not None and found.method.startswith(method)


def test_a_noisy_metric_with_cases_has_the_wider_interval(tmp_path) -> None:
    with opened(tmp_path, Metric(name="errors", unit="", decimals=6)) as journal:
        baseline(journal, 0.5)
        kept(journal, 0.4)
        for seed, noise in enumerate((0.0, 0.001)):
            one_round(journal, (4 / 6 + noise, 0.0), CASES, seed)
        found = validation.validated(journal.night)
        assert found is not None and found.method == "paired by 6 cases" and found.rounds == 2


@pytest.mark.parametrize("show", [status.text, validation.text, validation.validated, analysis.headline])
def test_an_empty_night_can_be_read(show: Callable[[Night], object]) -> None:
    assert show(Night()) or True
