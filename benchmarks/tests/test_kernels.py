"""The comparisons of MLX's kernels hold on this machine, and would show a kernel that is wrong."""

from __future__ import annotations

import math

import mlx.core as mx
import pytest

import prepare
from benchmarks import kernels


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_every_fact_is_told_and_no_kernel_is_wrong() -> None:
    lines = list(kernels.facts(32))
    assert len([line for line in lines if line.startswith("attention and its gradients, D ")]) == 4
    assert not [line for line in lines if "WRONG" in line]


def test_a_wrong_kernel_is_shown() -> None:
    lines = list(kernels.attention(16, lambda q, k, v, mask: 1.1 * prepare.attention(q, k, v, mask)))
    assert len(lines) == 4 and all("WRONG, wanted below" in line for line in lines)


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        ([0.001, 0.0031], "attention, bfloat16: 0.0031"),
        ([0.001, 0.031], "attention, bfloat16: 0.031 - WRONG, wanted below 0.02"),
        ([0.031, math.nan, 0.001], "attention, bfloat16: nan - WRONG, wanted below 0.02"),
    ],
)
def test_the_largest_error_is_told(errors: list[float], line: str) -> None:
    assert kernels.told("attention", errors, mx.bfloat16) == line
