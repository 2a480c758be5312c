"""Execute train_mlx.py with constants set, for its test files: small models, and runs of a given number of steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

import prepare
from autoresearch.candidate.constants import assign

SOURCE = Path(prepare.__file__).with_name("train_mlx.py")
TASK = prepare.Task(
    "toy", "tiny", "0" * 16, seq_len=32, vocab_size=48, bos_id=44, eval_tokens=64, eval_rows=2, budget_s=1
)
SMALL = {
    "DEPTH": 3,
    "ASPECT_RATIO": 8,
    "HEAD_DIM": 8,
    "TOTAL_BATCH_SIZE": 128,
    "DEVICE_BATCH_SIZE": 4,
    "COMPUTE_DTYPE": "float32",  # on a GPU, too, where the default is not exact enough to be compared
}
ON_METAL = mx.metal.is_available() and mx.default_device() == mx.gpu
# MLX rotates with Metal's fast sine and cosine, whose error may be 2**-13: times a tolerance where rotations count.
SLACK = 20.0 if ON_METAL else 1.0

frees_at_once = pytest.mark.skipif(
    mx.default_device() == mx.gpu,
    reason="a GPU frees memory when its queue gets there; `benchmarks mac` measures what it holds",
)


def trainer(**constants: Any) -> ModuleType:
    """Execute train_mlx.py with these constants, set as a proposal's SET edits would set them."""
    return execute(tuple(sorted({**SMALL, **constants}.items())))


@cache
def execute(constants: tuple[tuple[str, Any], ...]) -> ModuleType:
    source = SOURCE.read_text()
    for name, value in constants:
        source = assign(source, name, repr(value))
    module = ModuleType("train_mlx")
    exec(compile(source, str(SOURCE), "exec", dont_inherit=True), module.__dict__)
    return module


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a tree of MLX arrays by flat name, as NumPy copies."""
    return {name: np.array(value) for name, value in tree_flatten(tree)}


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Compare by norm and not by element: cautious decay depends on the signs of products that are nearly zero."""
    for name, value in found.items():
        error = np.linalg.norm(value - expected[name]) / max(np.linalg.norm(expected[name]), 1e-30)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


def set_parameters(model: Any, params: dict[str, np.ndarray]) -> None:
    model.update(tree_unflatten([(name, mx.array(p.astype(np.float32))) for name, p in params.items()]))


def spread(model: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Give every parameter values away from its special initial ones (zeros, ones), and return them in float64.

    The values are exact in float32, so that a float64 reference starts from the same numbers.
    """
    rng = np.random.default_rng(seed)
    params = {}
    for name, value in arrays(model.parameters()).items():
        size = 1.0 if name.startswith("wte") else 0.3
        center = 0.7 if name.endswith("lambdas") else 0.0
        params[name] = (center + size * rng.standard_normal(value.shape)).astype(np.float32).astype(np.float64)
    set_parameters(model, params)
    return params


def tokens(rows: int, length: int, seed: int = 0, vocab_size: int = TASK.vocab_size) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets, (rows, length) int32 each."""
    block = np.random.default_rng(seed).integers(0, vocab_size, (rows, length + 1), dtype=np.int32)
    return block[:, :-1], block[:, 1:]


class ScriptedRun:
    """Run with the harness's interface that ends after `steps` batches; progress is the share of batches handed out."""

    def __init__(self, steps: int, task: prepare.Task = TASK) -> None:
        self.task, self.seed, self.steps, self.progress = task, 0, steps, 0.0
        self.warmups = 0
        self.shapes: list[tuple[int, ...]] = []
        self.losses: dict[int, float] = {}

    def warmup_batch(self, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
        self.warmups += 1
        return self.batch(1000 + self.warmups, rows, seq_len)

    def batches(self, rows: int, seq_len: int | None = None) -> Iterator[tuple[mx.array, mx.array]]:
        for i in range(self.steps):
            self.progress = i / self.steps
            self.shapes.append((rows, seq_len or self.task.seq_len))
            yield self.batch(i, rows, seq_len)

    def log(self, step: int, loss: mx.array) -> None:
        self.losses[step] = loss.item()

    def batch(self, seed: int, rows: int, seq_len: int | None) -> tuple[mx.array, mx.array]:
        x, y = tokens(rows, seq_len or self.task.seq_len, seed, self.task.vocab_size)
        return mx.array(x), mx.array(y)
