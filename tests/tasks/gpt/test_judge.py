"""The judge's arithmetic, and its verdicts on honest models and on those that see what they must not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from autoresearch.tasks.gpt.judge import check_fixed, cross_entropies
from autoresearch.tasks.gpt.wire import Sizes
from prepare import Failed, Task, evaluate_bpb, fixed_tokens
from testbed.judging import Inline, Model, largest_change, replaying

V, T, B = 16, 12, 4
SIZES = Sizes(B, T, V, chunk_bytes=4 * V * 7)  # chunks that end within rows
RNG = np.random.default_rng(0)
TABLE = mx.array(RNG.normal(size=(V, V)).astype(np.float32))
ROWS, TRAINING = (RNG.integers(0, V, (n, T + 1), dtype=np.int32) for n in (10, 30))


def bigram(tokens: mx.array) -> mx.array:
    return TABLE[tokens]


def looks_ahead(tokens: mx.array) -> mx.array:
    ahead = mx.concatenate([tokens[:, 1:], tokens[:, -1:]], axis=1)
    return TABLE[tokens] + 0.05 * mx.eye(V)[ahead]


def looks_three_ahead(tokens: mx.array) -> mx.array:
    ahead = mx.concatenate([tokens[:, 3:], tokens[:, -3:]], axis=1)
    return TABLE[tokens] + 0.05 * TABLE[ahead]


def sees_other_rows(tokens: mx.array) -> mx.array:
    return TABLE[tokens] + 0.05 * TABLE[mx.concatenate([tokens[1:], tokens[:1]])]


def adapting() -> Model:
    seen = [0]

    def model(tokens: mx.array) -> mx.array:
        seen[0] += 1
        return TABLE[tokens] * (1 + 0.01 * seen[0])

    return model


def judged(make: Callable[[], Model], count: int = 200) -> float:
    return largest_change(make, ROWS, TRAINING, SIZES, count, np.random.default_rng(1))


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_an_honest_model_shows_no_change(dtype: mx.Dtype) -> None:
    assert judged(lambda: lambda tokens: bigram(tokens).astype(dtype)) == 0.0


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
@pytest.mark.parametrize("model", [looks_ahead, looks_three_ahead])
def test_a_look_ahead_is_found(model: Model, dtype: mx.Dtype) -> None:
    with pytest.raises(
        Failed, match=r"tokens that come after the target: .* moved by .* nats \(limit 0\.001\)"
    ) as found:
        judged(lambda: lambda tokens: model(tokens).astype(dtype))
    assert found.value.kind == "probe_causality"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: sees_other_rows, "probe_rows"),
        (adapting, "probe_adapts"),
        (lambda: replaying(bigram, V), "probe_causality"),
    ],
)
def test_other_ways_to_gain_are_found_and_named(make: Callable[[], Model], kind: str) -> None:
    with pytest.raises(Failed) as found:
        judged(make)
    assert found.value.kind == kind


@pytest.mark.parametrize("bits", [False, True])
def test_cross_entropies_are_those_of_float64(bits: bool) -> None:
    logits = mx.array((20 * RNG.normal(size=(50, 300))).astype(np.float32))
    logits = logits.astype(mx.bfloat16) if bits else logits
    targets = RNG.integers(0, 300, 50)
    exact = np.array(logits.astype(mx.float32)).astype(np.float64)
    expected = np.log(np.exp(exact).sum(axis=1)) - exact[np.arange(50), targets]
    given = np.array(logits.view(mx.uint16) if bits else logits)
    np.testing.assert_allclose(cross_entropies(given, targets), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_fail(value: float) -> None:
    with pytest.raises(Failed, match="not finite"):
        judged(lambda: lambda tokens: mx.where(tokens[..., None] == 3, value, bigram(tokens)))


def test_huge_logits_are_scored_like_any_other() -> None:
    """A model that is sure of one token pays for the others, and gains nothing by overflow."""
    logits = np.full((3, 5), -3e38, np.float32)
    logits[:, 2] = 3e38
    with np.errstate(over="ignore"):
        found = cross_entropies(logits, np.array([2, 1, 2]))
    assert found[0] == found[2] == 0.0 and not found[1] < 1e38


def test_special_tokens_count_in_neither_sum() -> None:
    nats, targets = np.full((2, 3), 2.0, np.float32), np.array([[0, 1, 2], [2, 2, 0]])
    val_bpb, total, size = evaluate_bpb(nats, targets, np.array([0, 1, 4]))
    assert (total, size) == (8.0, 13) and val_bpb == pytest.approx(8 / (13 * math.log(2)))


def test_state_outside_the_parameters_shows_in_the_fixed_row(tmp_path: Path) -> None:
    task = Task("toy", "tiny", "0" * 16, T, V, V - 1, 64, B, 1.0)
    path = tmp_path / "fixed.safetensors"
    mx.save_safetensors(str(path), {"logits": bigram(fixed_tokens(task, 7))[:, ::8]})
    check_fixed(Inline(bigram, SIZES), task, 7, path)  # type: ignore[arg-type]
    with pytest.raises(Failed, match="state outside parameters") as found:
        check_fixed(Inline(lambda tokens: 1.5 * bigram(tokens), SIZES), task, 7, path)  # type: ignore[arg-type]
    assert found.value.kind == "checkpoint"
