"""The cells of a comparison, and its tables in the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autoresearch.findings import compare
from autoresearch.findings.finding import Effect, TransferOutcome
from autoresearch.metrics import Metric
from autoresearch.report import comparison_tables
from testbed.night_builder import A, B, NightBuilder, shared


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (Effect(0.021, -0.008, 0.05), "+0.0210 [−0.0080, +0.0500]"),
        (Effect(-0.021), "−0.0210 (no interval)"),
        (None, "–"),
    ],
)
def test_an_effect_as_text(effect: Effect | None, text: str) -> None:
    assert comparison_tables.effect_text(effect) == text


def test_what_became_of_a_change_as_text() -> None:
    there = TransferOutcome(7, "deeper", "transfers", here=Effect(0.02, 0.01, 0.03))
    assert comparison_tables.outcome_text(there) == "transfers +0.0200 [+0.0100, +0.0300]"
    failed = TransferOutcome(7, "deeper", "cannot run", reason="x" * 500)
    assert comparison_tables.outcome_text(failed).startswith("cannot run: xxx")
    assert len(comparison_tables.outcome_text(failed)) <= comparison_tables.CANNOT_RUN


def test_every_row_has_as_many_cells_as_its_table_has_names() -> None:
    for night in compare.compare([A, B]).nights:
        assert len(comparison_tables.night_cells(night)) == len(comparison_tables.NIGHTS)
        assert len(comparison_tables.cost_cells(night)) == len(comparison_tables.COSTS)


def test_a_common_direction_is_named() -> None:
    rows = {row.change: row for row in compare.compare([A, B]).shared}
    assert comparison_tables.together(rows["DEPTH 2 → 4"]) == "all gain"
    assert comparison_tables.together(rows["code in MLP.__call__"]) == "opposite"


def test_a_narrow_terminal_says_how_many_nights_it_leaves_out() -> None:
    nights = [replace(A, created=f"2026-11-{day:02}") for day in range(1, 11)]
    console = Console(file=io.StringIO(), width=80)
    comparison_tables.show(compare.compare(nights), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    words = " ".join(said.split())
    assert "; 6 more nights in the page: --html FILE" in words and comparison_tables.AGREEMENT_LEGEND in words


@pytest.mark.parametrize("width", range(40, 100, 3))
def test_a_narrow_terminal_breaks_no_word(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    comparison_tables.show(compare.compare([A, B]), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("kept/tried", "parameters", "+5000.0σ", "learning_rate", "MLP.__call__", "128,000"):
        assert word in said, word
    assert max(map(len, said.splitlines())) <= width and "…" not in said


def test_a_night_that_kept_nothing_has_no_gain() -> None:
    (night,) = compare.compare([shared(NightBuilder())]).nights
    assert "none" in comparison_tables.night_cells(night)


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=4), st.integers(1, 100))
def test_columns_fit_and_break_no_word(rows: list[tuple[str, str, str]], room: int) -> None:
    widths = comparison_tables.column_widths(rows, room)
    if widths is not None:
        assert sum(widths) + 2 * len(widths) <= room
        assert all(
            len(word) <= width for row in rows for cell, width in zip(row, widths, strict=True) for word in cell.split()
        )


def test_a_declared_task_s_values_have_its_metric_s_name_and_no_bits_per_byte() -> None:
    metric = Metric(name="accuracy", unit="", direction="higher", decimals=None)
    night = replace(
        compare.compare([A, B]).nights[0], metric=metric, baseline_score=-0.5, best_score=-0.75, sigma_score=0.01
    )
    cells = dict(zip(comparison_tables.headings([night]), comparison_tables.night_cells(night), strict=True))
    assert cells["value"] == "accuracy 0.5 → 0.75" and cells["σ"] == "0.01"
    assert comparison_tables.effect_text(Effect(0.25), metric) == "+0.25 (no interval)"


def test_the_ledger_of_a_claim_stands_below_the_nights() -> None:
    comparison = compare.compare([A, B])
    (gelu,) = (row for row in comparison.shared if row.change == "code in MLP.__call__")
    assert comparison_tables.ledger_lines(gelu, comparison.nights) == [
        "A's claim on Apple M1, 8 GPU cores, 8 GB: 1 reversal"
    ]
    assert comparison_tables.shared_cells(gelu, comparison.nights)[2].endswith("8 GB: 1 reversal")
    (crashed,) = (row for row in comparison.shared if row.agreement == "no intervals")
    assert comparison_tables.ledger_lines(crashed, comparison.nights) == []
