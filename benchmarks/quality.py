"""What does each part of the optimizer bring, at equal steps?

    uv run benchmarks/quality.py --dataset PATH [--steps 300] [--seeds 42] [--only NAME ...] [--quick] [--json FILE]

val_bpb after 300 steps of 4,096 tokens of the tiny profile's model without bigrams, as the reference setup has it:
the baseline, the optimizer of the tests' NumPy reference in its place (float64, one matrix at a time), the baseline
less one part, and AdamW for everything (the plain port's, matrices at Muon's learning rate and at a quarter and a
sixteenth of it). Progress is the share of steps done, so that a slow machine finds the same numbers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import REFERENCE_CONSTANTS, arguments, report, trainer
from mlx.utils import tree_flatten, tree_unflatten
from plain import PlainAdamW, adamw_rule

import prepare
from autoresearch.tasks.gpt.data import corpus
from testbed import reference

CLASSIC = "(3.4445, -4.7750, 2.0315)"  # Muon's first Newton-Schulz coefficients, five times the same
VARIANTS: dict[str, tuple[list[tuple[str, str]], dict[str, Any]]] = {  # edits, constants
    "Muon + AdamW": ([], {}),
    "without NorMuon": (
        [("    return scaled * (frobenius(X)", "    return X, second\n    return scaled * (frobenius(X)")],
        {},
    ),
    "decay everywhere": ([("decay * p * (g * p >= 0)", "decay * p")], {}),
    "without decay": ([], {"WEIGHT_DECAY": 0.0}),
    "classic Newton-Schulz": ([("in POLAR_EXPRESS[:steps]:", f"in 5 * [{CLASSIC}]:")], {}),
    "without Nesterov": ([("    g = g + momentum * (buffer - g)  # Nesterov", "    g = buffer")], {}),
    "without value embeddings": ([], {"VALUE_EMBED_EVERY": 0}),
}
ADAMW = {"AdamW": 0.04, "AdamW, a quarter": 0.01, "AdamW, a sixteenth": 0.0025}  # learning rate of the matrices
REFERENCE = "NumPy reference"
NAMES = ["Muon + AdamW", REFERENCE, *list(VARIANTS)[1:], *ADAMW]


class FixedSteps:
    """A run of so many steps over the packed rows, in the harness's interface."""

    def __init__(self, task: prepare.Task, data: np.ndarray, seed: int, steps: int, rows: int) -> None:
        self.task, self.seed, self.data, self.steps, self.rows = task, seed, data, steps, rows
        self.progress, self.loss = 0.0, float("nan")

    def warmup_batch(self, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
        zeros = mx.zeros((rows, seq_len or self.task.seq_len), dtype=mx.int32)
        return zeros, zeros

    def batches(self, rows: int, seq_len: int | None = None) -> Iterator[tuple[mx.array, mx.array]]:
        micro_batches = self.rows // rows
        order = np.random.default_rng(self.seed).permutation(len(self.data))
        for i in range(self.steps * micro_batches):
            self.progress = i // micro_batches / self.steps
            block = mx.array(self.data[order[np.arange(i * rows, (i + 1) * rows) % len(order)]].astype(np.int32))
            yield block[:, :-1], block[:, 1:]

    def log(self, step: int, loss: mx.array) -> None:
        self.loss = loss.item()
        if step % 20 == 0:
            print(f"\r  step {step} of {self.steps}: {self.loss:.3f} nats", end="", file=sys.stderr, flush=True)


def train_uncompiled(model: Any, run: FixedSteps, update: Callable[[dict[str, Any], int], None]) -> None:
    """The baseline's steps without its optimizer: `update` takes the gradients and the step's number."""
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    for step, (x, y) in enumerate(run.batches(run.rows)):
        loss, gradients = loss_and_grad(x, y)
        update(gradients, step)
        mx.eval(loss, model.state)
        run.log(step, loss)


def train_adamw(train_mlx: ModuleType, model: Any, run: FixedSteps) -> None:
    optimizer = PlainAdamW(adamw_rule(train_mlx, model))
    train_uncompiled(model, run, lambda g, step: optimizer.update(model, g, train_mlx.lr_scale(run.progress)))


def train_reference(model: Any, run: FixedSteps) -> None:
    """Parameters, moments and updates in NumPy float64; MLX computes the gradients."""
    params = float64(model.parameters())
    optimizer = reference.Optimizer(params)

    def update(gradients: dict[str, Any], step: int) -> None:
        nonlocal params
        params = optimizer.step(params, float64(gradients), reference.schedule(run.progress, step))
        model.update(tree_unflatten([(name, mx.array(p.astype(np.float32))) for name, p in params.items()]))

    train_uncompiled(model, run, update)


def float64(tree: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, dtype=np.float64) for name, value in tree_flatten(tree)}


def val_bpb(model: Any, folder: Path, task: prepare.Task) -> float:
    rows, token_bytes = (
        prepare.load_rows(folder / "eval" / "val.u16", task.seq_len),
        np.load(folder / "token_bytes.npy"),
    )
    return prepare.evaluate_bpb(
        lambda x, y: prepare.cross_entropy(model(x), y, "none"), rows, token_bytes, task.eval_rows
    )[0]


@cache
def prepared(dataset: str) -> tuple[Path, prepare.Task, np.ndarray]:
    """Folder, task and training rows of a data set of the tiny profile, by its name or the path it comes from."""
    folder = corpus.locate(dataset, "tiny")
    if folder is None:
        raise SystemExit(f"not prepared: uv run prepare.py --dataset {dataset} --profile tiny")
    meta = corpus.load_meta(folder)
    task = prepare.Task(**{field: meta[field] for field in prepare.Task.__dataclass_fields__})
    return folder, task, prepare.load_rows(folder / "train.u16", task.seq_len)


def trained(
    train_mlx: ModuleType, train: Callable[[Any, FixedSteps], None], dataset: str, seed: int, steps: int
) -> tuple[float | None, float]:
    """val_bpb of the trainer's model after so many steps, None where it diverged, and a step's processor seconds."""
    folder, task, data = prepared(dataset)
    mx.random.seed(seed)
    model = train_mlx.build_model(task)
    run = FixedSteps(task, data, seed, steps, REFERENCE_CONSTANTS["TOTAL_BATCH_SIZE"] // task.seq_len)
    start = time.process_time()
    train(model, run)
    step_s = (time.process_time() - start) / steps
    finite = all(mx.isfinite(p).all().item() for _, p in tree_flatten(model.parameters()))
    return (val_bpb(model, folder, task) if finite else None), step_s


def row(name: str, seed: int, steps: int, dataset: str) -> dict[str, Any]:
    edits, constants = VARIANTS.get(name, ([], {"MATRIX_LR": ADAMW[name]} if name in ADAMW else {}))
    train_mlx = trainer(edits, **{**REFERENCE_CONSTANTS, **constants})
    train = train_mlx.train
    if name == REFERENCE:
        train = train_reference
    elif name in ADAMW:
        train = partial(train_adamw, train_mlx)
    bpb, _ = trained(train_mlx, train, dataset, seed, steps)
    return {"optimizer": name, "seed": seed, "steps": steps, "val_bpb": bpb}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--dataset", required=True, help="a prepared data set's name, or the path it was prepared from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME")
    args = parser.parse_args()
    names = args.only or (["Muon + AdamW", "AdamW"] if args.quick else NAMES)
    steps = 30 if args.quick else args.steps
    rows = []
    for name in names:
        for seed in args.seeds:
            rows.append(row(name, seed, steps, args.dataset))
            print(f"\r{rows[-1]}", file=sys.stderr, flush=True)
    return report(rows, args)


if __name__ == "__main__":
    raise SystemExit(main())
