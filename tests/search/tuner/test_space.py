"""The search space: ranges from names and types, constraints, and SET edits that mean what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch import records
from autoresearch.candidate import constants, edits
from autoresearch.records import Set
from autoresearch.search.tuner.axes import Axis
from autoresearch.search.tuner.space import WIDTH, Space, Values, infer
from testbed.spaces import REAL, SHORT, SPACE, source

# --- the space of the real file ---------------------------------------------------------------------------------------


def test_the_real_file() -> None:
    space = infer(REAL, 2048)
    names = {axis.name for axis in space.axes}
    assert {
        "DEPTH",
        WIDTH,
        "TOTAL_BATCH_SIZE",
        "MATRIX_LR",
        "ADAM_BETAS[0]",
        "WARMDOWN_RATIO",
        "WINDOW_PATTERN",
    } <= names
    assert "ASPECT_RATIO" not in names  # the width stands for it
    assert "POLAR_EXPRESS" not in names
    assert {"SHORT_WINDOW"}.isdisjoint(names)  # the pattern has no S
    assert "SHORT_WINDOW" in infer(REAL.replace('WINDOW_PATTERN = "L"', 'WINDOW_PATTERN = "SL"'))
    assert all(axis.category in records.CATEGORIES for axis in space.axes)
    assert space.settle(space.current) == space.current
    assert space.edits(space.current) == ()


def test_depth_moves_at_the_same_width() -> None:
    space = infer(source("DEPTH = 4", "ASPECT_RATIO = 32", "HEAD_DIM = 64"))
    assert space.edits({**space.current, "DEPTH": 2}) == (Set("DEPTH", "2"), Set("ASPECT_RATIO", "64"))
    assert space.edits({**space.current, WIDTH: 192}) == (Set("ASPECT_RATIO", "48"),)
    assert space.edits({**space.current, "DEPTH": 3}) == (Set("DEPTH", "3"),)  # 96 is rounded up to 128
    assert space.edits({**space.current, "DEPTH": 6}) == (Set("DEPTH", "6"), Set("ASPECT_RATIO", "21"))  # and so is 126


def test_a_larger_head_dimension_rounds_the_width_up() -> None:
    space = infer(source("DEPTH = 4", "ASPECT_RATIO = 48", "HEAD_DIM = 64"))
    settled = space.settle({**space.current, "HEAD_DIM": 128})
    assert settled is not None
    assert settled[WIDTH] == 256
    assert space.edits(settled) == (Set("HEAD_DIM", "128"),)


def whatever(space: Space) -> st.SearchStrategy[Values]:
    """Draw values of the axes, which may violate the constraints."""

    def of(axis: Axis) -> st.SearchStrategy[Any]:
        if axis.scale == "choice":
            return st.sampled_from(axis.grid)
        return st.floats(axis.low, axis.high).map(axis.at) | st.just(axis.value)

    return st.fixed_dictionaries({axis.name: of(axis) for axis in space.axes})


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(whatever(SPACE))
def test_what_the_edits_write_is_what_was_asked_for(values: Values) -> None:
    settled = SPACE.settle(values)
    assert settled is not None
    if not SPACE.edits(settled):
        return
    changed = edits.apply(SHORT, SPACE.edits(settled))
    assert SPACE.values(constants.read(changed)) == settled
    assert constants.read(changed) == SPACE.constants_at(settled)
    assert constants.structure(changed) == constants.structure(SHORT)
    assert infer(changed, 2048).settle(settled) == settled


# --- other people's files ---------------------------------------------------------------------------------------------


def test_a_width_of_whole_heads_and_heads_of_whole_groups() -> None:
    space = infer(source("N_EMBD = 384", "N_HEAD = 6", "N_KV_HEAD = 3"))
    settled = space.settle({**space.current, "N_HEAD": 8, "N_EMBD": 390})
    assert settled is not None
    assert (settled["N_EMBD"], settled["N_KV_HEAD"]) == (392, 2)


@pytest.mark.parametrize(
    ("total", "rows", "use", "batch", "settled"),
    [
        ("2**16", "16", "assert TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * 2048) == 0", 2**14, 8),  # tokens
        ("2**16", "16", "STEPS = TOTAL_BATCH_SIZE // DEVICE_BATCH_SIZE", 2**13, 4),
        ("64", "16", "assert TOTAL_BATCH_SIZE % DEVICE_BATCH_SIZE == 0", 8, 8),  # rows
        ("2**16", "16", "ROWS = round(TOTAL_BATCH_SIZE / 2048)", 2**14, 16),  # any total will do
        ("2**16", "16", "assert TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * 2048) == 0", 2**10, None),  # less than a row
    ],
)
def test_rows_follow_the_total_batch_where_the_code_needs_it(
    total: str, rows: str, use: str, batch: int, settled: int | None
) -> None:
    space = infer(source(f"TOTAL_BATCH_SIZE = {total}", f"DEVICE_BATCH_SIZE = {rows}") + use, 2048)
    values = space.settle({**space.current, "TOTAL_BATCH_SIZE": batch})
    assert (values and values["DEVICE_BATCH_SIZE"]) == settled


def test_the_judges_constants_and_those_without_effect_are_left_alone() -> None:
    text = source("SEED = 42", "EVAL_TOKENS = 1024", "TIME_BUDGET_S = 300.0", "LOG_EVERY = 10", "LR = 0.1")
    unused, twice = "UNUSED_LR = 0.5\n", "TWICE_LR = 0.1\nTWICE_LR = 0.2\nprint(TWICE_LR)\n"
    assert [axis.name for axis in infer(text + unused + twice).axes] == ["LR"]


def test_literals_keep_their_style() -> None:
    space = infer(source("TOTAL_BATCH_SIZE = 2**16", "DEVICE_BATCH_SIZE = 16", "ADAM_BETAS = [0.8, 0.95]", "LR = 1e-3"))
    moved = {**space.current, "TOTAL_BATCH_SIZE": 2**15, "DEVICE_BATCH_SIZE": 8, "ADAM_BETAS[1]": 0.9, "LR": 0.002}
    assert [edit.literal for edit in space.edits(moved)] == ["2**15", "8", "[0.8, 0.9]", "0.002"]


def test_values_of_another_version_are_taken_where_they_mean_the_same() -> None:
    space = infer(source("DEPTH = 4", "ASPECT_RATIO = 32", "HEAD_DIM = 64", "LR = 0.1", "COMPILE = True"))
    other = {"DEPTH": 6, "ASPECT_RATIO": 32, "HEAD_DIM": 64, "LR": "fast", "COMPILE": False}
    assert space.values(other) == {"DEPTH": 6, WIDTH: 192, "HEAD_DIM": 64, "COMPILE": False}
    assert space.values({}) == {}
