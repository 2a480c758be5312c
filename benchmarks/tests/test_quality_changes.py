"""Every listed change of the defaults applies to train_mlx.py, and what has no name is refused."""

from __future__ import annotations

import math

import mlx.core as mx
import pytest

from benchmarks.quality import changes
from benchmarks.timing import random_batch, toy_task


def losses(name: str) -> list[float]:
    """Return the losses of three steps in the learning rate's decay."""
    train_mlx, task = changes.changed(name, "tiny"), toy_task(seq_len=8, vocab_size=48)
    mx.random.seed(0)
    model = train_mlx.build_model(task)
    step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
    return [step([random_batch(task, 2)], train_mlx.hyperparameters(0.6, i)).item() for i in range(3)]


@pytest.fixture(scope="module")
def table() -> list[float]:
    return losses("BIGRAM_ROWS 16")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*changes.CHANGES, "late-keys + MATRIX_LR 0.02"])
def test_a_change_fits_the_trainer_and_changes_what_it_learns(name: str, table: list[float]) -> None:
    found = losses(f"BIGRAM_ROWS 16 + {name}")
    assert all(map(math.isfinite, found)) and found != table


def test_scales_and_constants_are_set() -> None:
    assert changes.changed(changes.REFERENCE, "mac").BIGRAM_ROWS == 0
    train_mlx = changes.changed("TOTAL_BATCH_SIZE 2**14 + BIGRAM_ROWS 4", "mac")
    assert (train_mlx.TOTAL_BATCH_SIZE, train_mlx.BIGRAM_ROWS) == (2**14, 4)


@pytest.mark.parametrize("name", ["smeer", "BIGRAM 16", "late-keys + nothing"])
def test_an_unknown_change_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a constant with a value, and none of: .*late-keys"):
        changes.changed(name, "tiny")


def test_sampled_softmax_estimates_the_whole_one() -> None:
    train_mlx = changes.changed("sampled softmax", "tiny")
    V, keys = 256, mx.random.split(mx.random.key(0), 3)
    x, weight = mx.random.normal((20, 16), key=keys[0]), 0.2 * mx.random.normal((V, 16), key=keys[1])
    y = mx.random.randint(0, V, (20,), key=keys[2])
    whole = train_mlx.prepare.cross_entropy(train_mlx.head(x, weight), y).item()

    def sampled(step: int, shift: int) -> float:
        ids = mx.concatenate([mx.arange(16), mx.arange(16, V - step + 1, step) + shift])
        stands_for = mx.where(mx.arange(len(ids)) < 16, 0.0, math.log(step))
        return float(train_mlx.sampled_loss(x, weight[ids], weight[y], stands_for, ids == y[:, None]).item())

    assert sampled(1, 0) == pytest.approx(whole, rel=1e-5)
    assert sum(sampled(8, shift) for shift in range(8)) / 8 == pytest.approx(whole, rel=0.02)
