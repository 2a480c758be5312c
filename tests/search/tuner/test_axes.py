"""The axes of the search space: ranges and steps from names and types."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch import records
from autoresearch.search.tuner.axes import Axis, axes_of
from testbed.spaces import SPACE


def only(name: str, value: Any) -> Axis:
    (axis,) = axes_of(name, value)
    return axis


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
