"""What a proposer is told."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from autoresearch.loop.context import context_of, describe_machine
from autoresearch.loop.notebook import Notebook
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment
from autoresearch.records import Proposal
from autoresearch.report.console import PlainView
from autoresearch.search.policy import DEEP_PLATEAU
from testbed.night_builder import GELU, NightBuilder, set_to
from testbed.toy import this_machine

HERE = replace(this_machine(), chip="Apple M4 Pro", gpu_cores=20, memory_mb=24576, os="macOS 26.2")


def test_the_incumbent_its_history_and_the_brief(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "nov23")
    made = NightBuilder().try_all(3)
    made.write(layout.folder)
    book = Notebook(layout, Journal(layout), PlainView(io.StringIO()))
    context = context_of(book, HERE, seed=7, branching=True, program="# Brief\n")
    assert context.parent_n == made.incumbent and context.source == made.sources[context.parent_n]
    assert [trial.n for trial in context.history] == [1, 2, 3] and context.turn == 4
    assert (context.seed, context.program, context.task.profile) == (7, "# Brief\n", "mac")
    assert context.directive is not None


def test_what_runs_at_this_moment_is_told_as_a_little_worse_so_that_nobody_proposes_it_again(tmp_path: Path) -> None:
    layout, made = Layout(tmp_path, "nov23"), NightBuilder()
    n = made.propose("candidate", set_to("DEPTH", 3), made.sources[0].replace("DEPTH = 2", "DEPTH = 3"), 1.5)
    made.write(layout.folder)
    book = Notebook(layout, Journal(layout), PlainView(io.StringIO()))
    context = context_of(book, HERE, 0, branching=False)
    (trial,) = context.history
    assert (trial.n, trial.verdict, trial.reason) == (n, "discard", "it runs at this moment")
    assert trial.score is not None and trial.score > context.incumbent_score


def test_on_a_long_plateau_an_ancestor_is_edited_where_the_night_branches(tmp_path: Path) -> None:
    layout, made = Layout(tmp_path, "nov23"), NightBuilder()
    kept = made.candidate(set_to("DEPTH", 3), 0.05, "keep")
    for k in range(DEEP_PLATEAU):
        made.candidate(set_to("LR", 0.0011 * (k + 1)), -0.05, "discard")
    made.write(layout.folder)
    book = Notebook(layout, Journal(layout), PlainView(io.StringIO()))
    assert context_of(book, HERE, 0, branching=True).parent_n == 0
    assert context_of(book, HERE, 0, branching=False).parent_n == kept


def test_a_machine_is_described_by_what_the_incumbent_makes_of_it(tmp_path: Path) -> None:
    NightBuilder().write(tmp_path / "runs" / "night")
    line = describe_machine(HERE, Journal(Layout(tmp_path, "night")).night.experiments[0])
    assert line.startswith("Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2; 128,000 tokens a second, 700 steps in the")
    assert line.endswith("peak memory 3.91 GB, 25% MFU")
    nothing_ran = Experiment(0, "baseline", Proposal((GELU,), "", "", "other", "by hand"), "s", None, "c")
    assert describe_machine(HERE, nothing_ran) == HERE.describe()
