"""The night as the loop reads it, and the counters of a session."""

from __future__ import annotations

import io
from pathlib import Path

from autoresearch.loop.notebook import Counters, Notebook
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal
from autoresearch.report.console import PlainView
from testbed.night_builder import NightBuilder


def notebook(tmp_path: Path) -> Notebook:
    layout = Layout(tmp_path, "nov23")
    NightBuilder().try_all(4).write(layout.folder)
    return Notebook(layout, Journal(layout), PlainView(io.StringIO()))


def test_it_reads_the_night_as_it_stands(tmp_path: Path) -> None:
    book = notebook(tmp_path)
    assert book.baseline.n == 0 and book.incumbent.n == book.night.incumbent_n
    assert book.source_of(0) == book.layout.source(0).read_text()
    assert book.estimates.noise.sigma_score > 0 and book.run_s() == 330.0


def test_a_note_is_in_the_journal_and_in_the_view(tmp_path: Path) -> None:
    book = notebook(tmp_path)
    book.note("the early stop is off")
    assert book.night.notes[-1] == "the early stop is off" and book.view.state.said[-1] == "the early stop is off"


def test_counters_of_a_session(tmp_path: Path) -> None:
    night, counters = notebook(tmp_path).night, Counters()
    for n in (1, 2, 3, 4):
        counters.count_decided(night.experiments[n])
    single = [len(night.experiments[n].scores) == 1 for n in (1, 2, 3, 4)]
    in_a_row = next((i for i, alone in enumerate(reversed(single)) if not alone), 4)
    assert (counters.decided, counters.since_baseline, counters.single_run_discards) == (4, 4, in_a_row)
    counters.count_rerun(night.experiments[1])
    assert (counters.since_baseline, counters.single_run_discards) == (4, 0)
    counters.count_rerun(night.experiments[0])
    assert (counters.decided, counters.since_baseline) == (4, 0)
