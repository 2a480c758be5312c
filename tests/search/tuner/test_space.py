"""The search space: ranges from names and types, constraints, and SET edits that mean what was asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch import records
from autoresearch.candidate import constants, edits
from autoresearch.records import Set
from autoresearch.search.tuner.axes import Axis, axes_of
from autoresearch.search.tuner.space import WIDTH, Space, Values, infer
from testbed.toy import ROOT

REAL = (ROOT / "train_mlx.py").read_text()
FIXED = "def build_model(task): return ({used})\ndef train(model, run): ...\n"


def source(*lines: str) -> str:
    """A candidate of these constants, each of them used."""
    names = [line.split(" = ")[0] for line in lines]
    return "".join(f"{line}\n" for line in lines) + FIXED.format(used=", ".join(names))


SHORT = source(*(f"{name} = {literal}" for name, literal in constants.literals(REAL).items()))  # its constants alone
SPACE = infer(SHORT, 2048)


def only(name: str, value: Any) -> Axis:
    (axis,) = axes_of(name, value)
    return axis


# --- axes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "category", "down", "up"),
    [
        ("DEPTH", 4, "depth", 2, 8),
        ("N_LAYER", 12, "depth", 6, 24),
        ("TOTAL_BATCH_SIZE", 2**15, "batch", 2**14, 2**16),
        ("DEVICE_BATCH_SIZE", 24, "speed", 12, 48),
        ("TRAIN_ROW_PIECES", 1, "batch", None, 2),
        ("HEAD_DIM", 128, "attention", 64, 256),
        ("HEADS_PER_KV", 1, "attention", None, 2),
        ("MATRIX_LR", 0.04, "learning_rate", 0.02, 0.08),
        ("WEIGHT_DECAY", 0.2, "regularisation", 0.1, 0.4),
        ("WEIGHT_DECAY", 0.0, "regularisation", None, 0.1),
        ("DROPOUT", 0.0, "regularisation", None, 0.1),
        ("MUON_MOMENTUM", 0.95, "optimizer", 0.9, 0.975),
        ("ADAM_BETA2", 0.999, "optimizer", 0.998, 0.9995),
        ("ADAM_BETA1", 0.0, "optimizer", None, 0.1),
        ("NS_STEPS", 5, "optimizer", 4, None),
        ("NS_STEPS", 3, "optimizer", 2, 4),
        ("ADAM_EPS", 1e-10, "optimizer", 9.5e-12, 1.1e-9),
        ("WARMUP_RATIO", 0.0, "schedule", None, 0.1),
        ("WARMDOWN_RATIO", 0.5, "schedule", 0.3, 0.7),
        ("WARMDOWN_RATIO", 0.9, "schedule", 0.7, 1.0),
        ("FINAL_LR_FRAC", 0.1, "schedule", 0.0, 0.2),
        ("WARMUP_STEPS", 100, "schedule", 50, 200),
        ("MLP_RATIO", 4, "mlp", 3, 6),
        ("X0_LAMBDA_INIT", 0.1, "initialisation", 0.05, 0.2),
        ("SOMETHING_NEW", 10.0, "other", 7.1, 14.0),
        ("SOMETHING_WHOLE", 1, "other", None, 2),
    ],
)
def test_a_coarse_step_either_way(name: str, value: Any, category: str, down: Any, up: Any) -> None:
    axis = only(name, value)
    assert axis.category == category in records.CATEGORIES
    assert (axis.moved(value, -1), axis.moved(value, 1)) == (down, up)


def test_whole_numbers_stay_whole_and_batches_powers_of_two() -> None:
    axis = only("TOTAL_BATCH_SIZE", 2**15)
    assert axis.grid == tuple(2**k for k in range(11, 18))
    assert only("DEPTH", 4).grid == tuple(range(1, 13))
    assert only("WARMUP_STEPS", 300).at(math.log2(301.7)) == 300


def test_an_unknown_number_gets_a_factor_of_two() -> None:
    axis = only("SOMETHING_NEW", 10.0)
    assert (2**axis.low, 2**axis.high) == (pytest.approx(5.0), pytest.approx(20.0))


def test_betas_are_searched_one_by_one_as_one_minus_beta() -> None:
    first, second = axes_of("ADAM_BETAS", (0.8, 0.95))
    assert (first.name, second.name) == ("ADAM_BETAS[0]", "ADAM_BETAS[1]")
    assert second.coordinate(0.95) == pytest.approx(math.log2(0.05))
    assert 0 < first.at(first.high) < first.at(first.low) < 1


@pytest.mark.parametrize(
    ("name", "value", "grid"),
    [
        ("COMPILE", True, (False, True)),
        ("WINDOW_PATTERN", "SSSL", ("L", "SL", "SSL", "SSSL")),
        ("WINDOW_PATTERN", "LLS", ("L", "SL", "SSL", "SSSL", "LLS")),
        ("COMPUTE_DTYPE", "bfloat16", ("bfloat16", "float32")),
    ],
)
def test_choices(name: str, value: Any, grid: tuple[Any, ...]) -> None:
    assert only(name, value).grid == grid


@pytest.mark.parametrize("value", ["relu", None, (1, 2), (), (0.1,) * 5, ((0.1, 0.2), (0.3, 0.4)), -1.0, 0, [None]])
def test_what_says_nothing_about_its_range_is_left_alone(value: Any) -> None:
    assert list(axes_of("SOMETHING", value)) == []


def test_a_constant_of_another_type_is_another_axis() -> None:
    keys = {only("MLP_RATIO", value).key for value in (4, 4.0)} | {only("MLP_RATIO", True).key}
    assert len(keys) == 3
    assert not only("MLP_RATIO", 4).admits(True)
    assert not only("WINDOW_PATTERN", "L").admits("XYZ")


@settings(deadline=None)
@given(st.sampled_from(SPACE.axes), st.floats(-100, 100), st.floats(-3, 3).filter(bool))
def test_every_value_is_in_range_and_of_the_constants_type(axis: Axis, place: float, steps: float) -> None:
    if axis.scale == "choice":
        return
    value = axis.at(place)
    assert type(value) is type(axis.value)
    assert axis.low - 0.02 <= axis.coordinate(value) <= axis.high + 0.02  # rounding to two digits
    assert axis.at(axis.coordinate(axis.value)) == pytest.approx(axis.value, rel=0.01)
    moved = axis.moved(axis.value, steps)
    assert moved is None or (float(moved) - float(axis.value)) * steps > 0


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
    """Any values of the axes, possible or not."""

    def of(axis: Axis) -> st.SearchStrategy[Any]:
        if axis.scale == "choice":
            return st.sampled_from(axis.grid)
        return st.floats(axis.low, axis.high).map(axis.at) | st.just(axis.value)

    return st.fixed_dictionaries({axis.name: of(axis) for axis in space.axes})


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
