"""The derivatives that the harness spells out, against MLX's automatic differentiation of the plain expressions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

import prepare
from testbed.trainer_support import ON_METAL, SOURCE, trainer

WEIGHT = mx.random.normal((11, 8), key=mx.random.key(1))
TARGETS = mx.random.randint(0, 11, (2, 40), key=mx.random.key(2))


def head(x: mx.array, weight: mx.array) -> mx.array:
    return x @ weight.T


def plain_loss(x: mx.array, weight: mx.array) -> mx.array:
    return prepare.cross_entropy(head(x, weight), TARGETS)


def chunked_loss(x: mx.array, weight: mx.array) -> mx.array:
    return prepare.chunked_cross_entropy(head, x, weight, TARGETS)


def losses_on_gpu(logits: mx.array) -> mx.array:
    return prepare.ops._cross_entropy_on_gpu(logits, TARGETS)


def plain_losses(logits: mx.array) -> mx.array:
    return nn.losses.cross_entropy(logits, TARGETS)


def in_blocks(q: mx.array, k: mx.array, v: mx.array, window: int, size: int) -> mx.array:
    return prepare.attend_in_blocks(trainer().attend_last, q, k, v, window, size)


def whole(q: mx.array, k: mx.array, v: mx.array, window: int) -> mx.array:
    return trainer().attend_last(q, k, v, window)


def fused(q: mx.array, k: mx.array, v: mx.array, mask: str | mx.array) -> mx.array:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)


HEADS = [(1, 4, 40, 8), (1, 2, 40, 8), (1, 2, 40, 8)]
LAST = [(1, 4, 7, 8), *HEADS[1:]]  # seven queries, at the end of what they see
SOME = mx.random.uniform(shape=(40, 40), key=mx.random.key(3)) + mx.eye(40) > 0.5
PAIRS = {  # what ops spells out, the same by plain operations, the shapes of the arguments
    "relu_squared": (prepare.relu_squared, lambda x: mx.square(nn.relu(x)), [(5, 7)]),
    "soft_cap": (partial(prepare.soft_cap, limit=1.5), lambda x: 1.5 * mx.tanh(x / 1.5), [(5, 7)]),
    "exp": (prepare.ops._exp, mx.exp, [(5, 7)]),
    "attention": (partial(prepare.attention, mask="causal"), partial(fused, mask="causal"), HEADS),
    "attention in the last queries": (partial(prepare.attention, mask="causal"), partial(fused, mask="causal"), LAST),
    "attention in a mask": (partial(prepare.attention, mask=SOME), partial(fused, mask=SOME), HEADS),
    "cross_entropy": (losses_on_gpu, plain_losses, [(2, 40, 11)]),
    "chunked_cross_entropy": (chunked_loss, plain_loss, [(2, 40, 8), (11, 8)]),
    "blocks": (partial(in_blocks, window=40, size=16), partial(whole, window=40), HEADS),
    "blocks in a window": (partial(in_blocks, window=9, size=7), partial(whole, window=9), HEADS),
    "blocks in less memory": (partial(in_blocks, window=40, size=16), partial(whole, window=40), HEADS),
    "blocks in a window and less memory": (partial(in_blocks, window=9, size=7), partial(whole, window=9), HEADS),
}


def test_the_cap_and_the_powers_hold_at_the_ends_of_float32() -> None:
    ends = mx.array([-mx.inf, -1e30, -200.0, -1e-30, 0.0, 1e-30, 200.0, 1e30, mx.inf])
    atol, expected = (5e-6 if ON_METAL else 2e-6), 15 * np.tanh(np.array(ends) / 15)
    np.testing.assert_allclose(np.array(prepare.soft_cap(ends, 15.0)), expected, atol=atol)
    assert prepare.ops._softmax(ends[:-1]).tolist() == [0.0] * 7 + [1.0]
    assert mx.isnan(prepare.soft_cap(mx.array(mx.nan), 15.0)).item()


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_those_of_the_plain_expression(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.ops, "CPU_LOGITS", 2**10)  # several chunks
    monkeypatch.delenv("MLX_DISABLE_COMPILE", raising=False)
    if "less memory" in name:
        monkeypatch.setattr(prepare.ops, "CPU_SCORES", 0)
    ours, plain, shapes = PAIRS[name]
    arrays = [mx.random.normal(shape, key=mx.random.key(i)) for i, shape in enumerate(shapes)]
    gradient = [mx.random.normal(plain(*arrays).shape, key=mx.random.key(9))]
    for found, expected in zip(*(mx.vjp(f, arrays, gradient) for f in (ours, plain)), strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-5, atol=1e-5)


def test_every_derivative_spelt_out_is_tested() -> None:
    """The editable file spells out no derivative, since an edit of a forward pass would leave the old one beside it."""
    editable = SOURCE.read_text()
    assert "custom_function" not in editable and ".vjp" not in editable
    spelt_out = Path(prepare.ops.__file__ or "").read_text() + SOURCE.with_name("prepare.py").read_text()
    assert spelt_out.count("mx.custom_function") == len({name.split(" in ")[0] for name in PAIRS})


class Biased(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = mx.zeros((11,))

    def head(self, x: mx.array, weight: mx.array) -> mx.array:
        return x @ weight.T + self.bias


def closes_over(bias: mx.array) -> Callable[..., mx.array]:
    return lambda x, weight: x @ weight.T + bias


@pytest.mark.parametrize(
    "hidden", [Biased().head, closes_over(mx.zeros((11,))), partial(lambda x, weight, bias: x, bias=mx.zeros((11,)))]
)
def test_an_array_that_would_get_no_gradient_is_refused(hidden: Callable[..., mx.array]) -> None:
    x = mx.zeros((2, 40, 8))
    with pytest.raises(TypeError, match=r"chunked_cross_entropy: .* must take every array as an argument"):
        prepare.chunked_cross_entropy(hidden, x, WEIGHT, TARGETS)
    with pytest.raises(TypeError, match="attend_in_blocks"):
        prepare.attend_in_blocks(hidden, x, x, x, 8, 8)
    with pytest.raises(TypeError, match="limit must be a number"):
        prepare.soft_cap(x, mx.array(15.0))


def test_a_cpu_has_no_fused_attention() -> None:
    if mx.default_device() == mx.gpu:
        pytest.skip("MLX runs on the GPU")
    assert not prepare.has_fused_attention(mx.zeros((1, 1, 256, 128)))
