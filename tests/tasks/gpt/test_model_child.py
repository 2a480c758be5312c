"""How logits leave the model's process: their types, and cores that share the rows."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from autoresearch.tasks.gpt.model_child import forward, plain
from prepare import Failed

TOKENS = np.arange(12, dtype=np.int32).reshape(3, 4) % 5


def model(dtype: mx.Dtype) -> nn.Module:
    made = nn.Embedding(5, 5)
    made.weight = made.weight.astype(dtype)
    return made


@pytest.mark.parametrize(
    ("dtype", "sent"), [(mx.float32, np.float32), (mx.bfloat16, np.uint16), (mx.float16, np.float32)]
)
def test_logits_leave_as_float32_or_bfloat16(dtype: mx.Dtype, sent: type, uncompiled: None) -> None:
    made = model(dtype)
    found = plain(forward(made, 5)(TOKENS))
    assert found.dtype == sent and found.shape == (12, 5)
    values = found if sent is np.float32 else np.array(mx.array(found).view(mx.bfloat16).astype(mx.float32))
    np.testing.assert_array_equal(values, np.array(made(mx.array(TOKENS)).astype(mx.float32)).reshape(12, 5))


def test_logits_that_do_not_lie_in_order_are_put_in_order() -> None:
    x = mx.arange(6, dtype=mx.float32).reshape(2, 3).T
    np.testing.assert_array_equal(plain(x), [[0, 3], [1, 4], [2, 5]])


class Returning(nn.Module):
    def __init__(self, value: Callable[[mx.array], object]) -> None:
        super().__init__()
        self.value = value

    def __call__(self, x: mx.array) -> object:
        return self.value(x)


@pytest.mark.parametrize(
    "value", [lambda x: mx.ones((*x.shape, 4)), lambda x: mx.ones((*x.shape, 5), mx.int32), lambda x: 3]
)
def test_what_is_no_logits_fails(value: Callable[[mx.array], object], uncompiled: None) -> None:
    with pytest.raises(Failed) as found:
        forward(Returning(value), 5)(TOKENS)
    assert found.value.kind == "interface"
