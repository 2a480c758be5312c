"""What the train child says of a candidate. Whole children run in tests/measure/test_experiment.py."""

from __future__ import annotations

import types
from typing import Any

import mlx.nn as nn
import pytest

from autoresearch.tasks.gpt.train_child import facts


@pytest.mark.parametrize(
    ("depth", "flops", "said"),
    [
        (4, lambda: 1e6, (4, 1e6)),
        (4.5, lambda: float("nan"), (None, None)),
        ("deep", lambda: "many", (None, None)),
        (None, 1e6, (None, None)),
    ],
)
def test_what_is_no_number_is_left_out(depth: Any, flops: Any, said: tuple[Any, Any]) -> None:
    module, model = types.ModuleType("train_mlx"), nn.Linear(3, 5)
    module.DEPTH, model.flops_per_token = depth, flops  # type: ignore[attr-defined]
    found = facts(model, module)
    assert (found["depth"], found["flops_per_token"]) == said
    assert found["num_params"] == 20
