"""What a candidate may pass to run.log."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import prepare


@pytest.mark.parametrize(
    "value", [3, 3.0, np.int64(3), np.float32(3), np.array(3), np.array([3]), mx.array(3), mx.array([3.0]), True + 2]
)
def test_what_is_one_number_is_taken(value: Any) -> None:
    assert (prepare.number("loss", value), prepare.whole_number("step", value)) == (3.0, 3)


@pytest.mark.parametrize(
    "value", ["3", None, [3], [[3]], (3,), 3j, mx.array([1, 2]), np.zeros((0,)), mx.array(1j), 10**400, object()]
)
def test_what_is_no_number_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(prepare.Failed, match=r"^run.log\(step, loss\): loss must be one number, found \w+") as caught:
        prepare.number("loss", value)
    assert caught.value.kind == "interface"


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), float("inf"), np.float32(-2)])
def test_a_step_is_a_whole_number(value: Any) -> None:
    with pytest.raises(prepare.Failed, match="step must be a whole number from 0"):
        prepare.whole_number("step", value)
