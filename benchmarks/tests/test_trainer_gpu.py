"""What the GPU's benchmark says of its goals, and that its cases can be built."""

from __future__ import annotations

from benchmarks.timing import trainer
from benchmarks.trainer import gpu


def test_goals_compare_the_best_times_and_skip_what_was_not_timed() -> None:
    rows = [
        {"what": "plain port, float32", "tok_s": 5e5},
        {"what": "not compiled, float32, 16 rows, chunk 2^28", "tok_s": 4e5},
        {"what": "not compiled, float32, 16 rows, chunk 2^28", "tok_s": 6e5},
        {"what": "bfloat16, 16 rows, chunk whole", "failed": "no time was left"},
        {"what": "bfloat16, 8 x 2, chunk whole", "tok_s": 1.67e6},
    ]
    assert gpu.goals(rows) == [
        "not compiled, float32, 16 rows, chunk 2^28: 1.20 of plain port, float32, wanted 1",
        "bfloat16, 8 x 2, chunk whole: 1.00 of the reference at 8 x 2 on an H100, wanted 1",
    ]


def test_every_goal_names_cases_that_are_run() -> None:
    names = {case.what for case in (*gpu.uncompiled(), *gpu.OPEN, *gpu.REST)}
    assert {what for what, *_ in gpu.GOALS} <= names
    assert {against for _, against, _ in gpu.GOALS if isinstance(against, str)} <= names


def test_cases_are_of_the_rows_that_they_name() -> None:
    shapes = {case.what: trainer(**case.constants).batch_shape(2048) for case in (*gpu.OPEN, *gpu.REST)}
    for what, (rows, micro_batches) in shapes.items():
        assert what.split(", ")[1] == (f"{rows} x {micro_batches}" if micro_batches > 1 else f"{rows} rows")
