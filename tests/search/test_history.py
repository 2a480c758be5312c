"""The compact history: values tried for each constant, and a line a trial."""

from __future__ import annotations

from dataclasses import replace

from autoresearch.records import Failure, SearchReplace, Set
from autoresearch.search import history
from testbed import declared_context as declared
from testbed.reply_cases import RELU, SOURCE, SQUARED
from testbed.trials import SIGMA, trial

NOW = 1.29  # val_bpb of the script


def test_values_tried_for_each_constant() -> None:
    rate = [Set("MATRIX_LR", "0.02")], [Set("MATRIX_LR", "0.03")], [Set("MATRIX_LR", "0.06")]
    trials = [
        trial(1, [Set("DEPTH", "4")], "crash", None, Failure("memory", "held 14.2 GB")),
        trial(2, rate[0], sigmas=-3.0),
        trial(3, rate[1], sigmas=-0.2),
        trial(4, rate[2], sigmas=-1.1),
    ]
    assert history.values_tried(SOURCE, trials, SIGMA, NOW) == ["DEPTH: 4x 8*", "MATRIX_LR: .02- .03= .04* .06-"]


def test_marks_compare_with_the_script_as_it_is() -> None:
    """A value that was kept, since it was better than the script of its time, is worse than the script now."""
    kept = replace(trial(1, [Set("MATRIX_LR", "0.05")], "keep", 4.0), score=NOW + 2.5 * SIGMA)
    near = replace(trial(2, [Set("MATRIX_LR", "0.06")], sigmas=-2.0, parent=kept.source), score=NOW + 0.3 * SIGMA)
    better = replace(trial(3, [Set("MATRIX_LR", "0.02")], "keep", 9.0), score=NOW - 2 * SIGMA)
    now = trial(4, [Set("MATRIX_LR", "0.055")], "keep", 2.5, parent=kept.source)
    told = history.values_tried(now.source, [kept, near, better, now], SIGMA, NOW)
    assert told == ["MATRIX_LR: .02+ .05- .055* .06="]


def test_values_of_other_types_and_of_code_changes() -> None:
    trials = [
        trial(1, [Set("WINDOW_PATTERN", "'L'"), Set("ADAM_BETAS", "(0.9, 0.95)")], sigmas=-1.0),
        trial(2, [Set("DEPTH", "6"), SearchReplace("        return 1.0", "        return 0.9")]),  # not the constant's
        trial(3, [Set(n, v) for n, v in zip(("DEPTH", "MATRIX_LR"), ("6", "0.1"), strict=True)] +
              [Set("WINDOW_PATTERN", "'LS'"), Set("TOTAL_BATCH_SIZE", "2**15")]),  # four say little about each
    ]  # fmt: skip
    assert history.values_tried(SOURCE, trials, SIGMA, NOW) == [
        "WINDOW_PATTERN: L- SSSL*",
        "ADAM_BETAS: (.9,.95)- (.8,.95)*",
    ]


def test_a_line_a_trial() -> None:
    kept = trial(12, [Set("MATRIX_LR", "0.05")], "keep", 2.1)
    assert history.line(kept, SIGMA) == "#12 keep +2.1s learning_rate: Idea 12 (MATRIX_LR .04 -> .05)"
    titled = replace(kept, title="MATRIX_LR 0.04 -> 0.05")
    assert history.line(titled, SIGMA) == "#12 keep +2.1s learning_rate: MATRIX_LR 0.04 -> 0.05"
    crash = trial(13, [Set("DEPTH", "16")], "crash", None, Failure("memory", "held 14.2 GB\nof memory"))
    assert history.line(crash, SIGMA) == "#13 crash: memory (held 14.2 GB of memory): Idea 13"
    early = replace(trial(14, [Set("DEPTH", "9")], "discard", None), reason="stopped half-way: too slow")
    assert history.line(early, SIGMA) == (
        "#14 discard (stopped half-way: too slow) learning_rate: Idea 14 (DEPTH 8 -> 9)"
    )


def test_a_broken_source_in_the_history_is_no_trouble() -> None:
    crash = trial(1, [SearchReplace(RELU, SQUARED)], "crash", None, Failure("source", "not valid Python"))
    broken = replace(crash, source="def (")
    assert history.values_tried(SOURCE, [broken], SIGMA, NOW) == []
    assert history.line(replace(broken, failure=None), SIGMA) == "#1 crash learning_rate: Idea 1"


def test_a_declared_task_has_its_metric_in_place_of_sigmas() -> None:
    context = replace(declared.CONTEXT, history=declared.HISTORY)
    assert history.trials_heading(context).startswith("Experiments, oldest first (p50_ms, and in brackets the gain")
    assert history.lines(context) == [
        "#1 keep 11.31 ms (+9.5%) query: Idea 1 (pages 10 -> 20)",
        "#2 discard 13.141 ms (-5.1%) query: Idea 2",
    ]
    failed = replace(declared.HISTORY[1], failure=Failure("guard", "other rows"), score=None, delta_score=None)
    assert history.line(failed, 0.02, declared.MS) == "#2 crash: guard (other rows): Idea 2"


def test_where_values_do_not_scatter_any_difference_is_one() -> None:
    exact = [replace(trial, sigma_score=None) for trial in declared.HISTORY[:1]]
    score = declared.CONTEXT.incumbent_score
    assert history.values_tried(declared.SOURCE, exact, 0.0, score) == ["pages: 10* 20+"]
    assert history.values_tried(declared.SOURCE, [replace(exact[0], score=score)], 0.0, score) == ["pages: 10* 20="]
