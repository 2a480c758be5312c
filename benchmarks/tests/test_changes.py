"""Every listed change of the defaults applies to train_mlx.py, and gains are paired by seed."""

from __future__ import annotations

import math

import mlx.core as mx
import pytest

from benchmarks import changes
from benchmarks.quality import gains
from benchmarks.timing import random_batch, toy_task


def losses(name: str) -> list[float]:
    """Return the losses of three steps in the learning rate's decay."""
    train_mlx, task = changes.changed(name, "tiny"), toy_task(seq_len=8, vocab_size=48)
    mx.random.seed(0)
    model = train_mlx.build_model(task)
    step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
    return [step([random_batch(task, 2)], train_mlx.hyperparameters(0.6, i)).item() for i in range(3)]


@pytest.fixture(scope="module")
def reference() -> list[float]:
    return losses(changes.REFERENCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*list(changes.CANDIDATES)[1:], "bigram embedding + half the keys a token late"])
def test_a_change_fits_the_trainer_and_changes_what_it_learns(name: str, reference: list[float]) -> None:
    found = losses(name)
    assert all(map(math.isfinite, found)) and found != reference


def test_gains_are_against_the_reference_of_the_same_seed() -> None:
    def run(change: str, seed: int, val_bpb: float | None) -> dict[str, object]:
        return {
            "dataset": "a",
            "scale": "tiny",
            "steps": 2,
            "seed": seed,
            "change": change,
            "val_bpb": val_bpb,
            "step_s": 2.0,
        }

    runs = [run("reference", 1, 2.0), run("x", 1, 1.9), run("reference", 2, 3.0), run("x", 2, 2.7), run("x", 3, 1.0)]
    (row,) = gains([*runs, run("y", 1, None)])
    assert row["gain"] == pytest.approx(0.2) and row["by seed"] == "1: +0.1000, 2: +0.3000" and row["s_ratio"] == 1.0
