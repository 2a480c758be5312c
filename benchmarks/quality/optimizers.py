"""Measure val_bpb after a fixed number of steps, with parts of the optimizer removed.

Steps of 4,096 tokens train the tiny profile's model without bigrams, the reference setup. Progress is the share of
steps done, so that a slow machine finds the same numbers.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

import prepare
from autoresearch.tasks.gpt.data import corpus, prepared
from benchmarks.texts import quick_data
from benchmarks.timing import REFERENCE_CONSTANTS, arguments, report, trainer
from benchmarks.trainer.plain import PlainAdamW, adamw_rule
from testbed import reference


class FixedSteps:
    """Run of so many steps over the packed rows, with the interface of the harness's prepare.Run."""

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
    """Take the baseline's steps without its optimizer: `update` gets the gradients and the step's number."""
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    for step, (x, y) in enumerate(run.batches(run.rows)):
        loss, gradients = loss_and_grad(x, y)
        update(gradients, step)
        mx.eval(loss, model.state)
        run.log(step, loss)


def train_adamw(train_mlx: ModuleType, model: Any, run: FixedSteps) -> None:
    """Train with AdamW for everything."""
    optimizer = PlainAdamW(adamw_rule(train_mlx, model))
    train_uncompiled(model, run, lambda g, step: optimizer.update(model, g, train_mlx.lr_scale(run.progress)))


def train_reference(model: Any, run: FixedSteps) -> None:
    """Train with parameters, moments and updates in NumPy float64; MLX computes the gradients only."""
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
    rows = prepare.load_rows(folder / "eval" / "val.u16", task.seq_len)
    token_bytes = np.load(folder / "token_bytes.npy")
    blocks = (rows[start : start + task.eval_rows].astype(np.int32) for start in range(0, len(rows), task.eval_rows))
    nats = [np.array(cross_entropies(model, mx.array(b[:, :-1]), mx.array(b[:, 1:]))) for b in blocks]
    return prepare.evaluate_bpb(np.concatenate(nats), rows[:, 1:], token_bytes)[0]


def cross_entropies(model: Any, x: mx.array, y: mx.array) -> mx.array:
    """Return nats of each token, (B, T)."""
    return prepare.cross_entropy(model(x), y, "none")


@cache
def data_set(dataset: str, profile: str = "tiny") -> tuple[Path, prepare.Task, np.ndarray]:
    """Return folder, task and training rows of a data set of a profile.

    `dataset` is its name, the path that it was prepared from, or the folder of prepared data. Exits when it is not
    prepared.
    """
    folder = Path(dataset) if (Path(dataset) / "meta.json").exists() else corpus.locate(dataset, profile)
    if folder is None:
        raise SystemExit(f"not prepared: python prepare.py --dataset {dataset} --profile {profile}")
    meta = prepared.load_meta(folder)
    task = prepare.Task(**{field: getattr(meta, field) for field in prepare.Task.__dataclass_fields__})
    return folder, task, prepare.load_rows(folder / "train.u16", task.seq_len)


def trained(
    train_mlx: ModuleType,
    train: Callable[[Any, FixedSteps], None],
    data: tuple[Path, prepare.Task, np.ndarray],
    seed: int,
    steps: int,
) -> tuple[float | None, float]:
    """Return val_bpb after so many steps (None when training diverged) and a step's seconds of processor.

    `data` is what `data_set` returns.
    """
    folder, task, rows = data
    mx.random.seed(seed)
    model = train_mlx.build_model(task)
    run = FixedSteps(task, rows, seed, steps, train_mlx.TOTAL_BATCH_SIZE // task.seq_len)
    start = time.process_time()
    train(model, run)
    step_s = (time.process_time() - start) / steps
    finite = all(mx.isfinite(p).all().item() for _, p in tree_flatten(model.parameters()))
    return (val_bpb(model, folder, task) if finite else None), step_s


# --- optimizers -------------------------------------------------------------------------------------------------------

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
NUMPY = "NumPy reference"
OPTIMIZERS = ["Muon + AdamW", NUMPY, *list(VARIANTS)[1:], *ADAMW]


def optimizers(argv: Sequence[str]) -> int:
    """Remove each part of the optimizer in turn, and replace it by AdamW and by the tests' NumPy reference.

    AdamW for everything is the plain port's, with the matrices at Muon's learning rate, a quarter and a sixteenth of
    it. The NumPy reference is float64, one matrix at a time.
    """
    options = arguments("quality optimizers", optimizers.__doc__)
    options.add_argument("--dataset", help="a prepared data set's name, or the path it was prepared from")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--seeds", type=int, nargs="+", default=[42])
    options.add_argument("--only", nargs="+", choices=OPTIMIZERS, metavar="NAME")
    args = options.parse_args(argv)
    names = args.only or (["Muon + AdamW", "AdamW"] if args.quick else OPTIMIZERS)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        (dataset,) = datasets(options, args, [args.dataset] if args.dataset else [], Path(name))
        for name, seed in itertools.product(names, args.seeds):
            rows.append(optimizer_row(name, seed, 2 if args.quick else args.steps, dataset))
            print(f"\r{rows[-1]}", file=sys.stderr, flush=True)
    return report(rows, args)


def datasets(
    options: argparse.ArgumentParser, args: argparse.Namespace, named: Sequence[str], folder: Path
) -> Sequence[str]:
    """Return the data sets that were named, or for --quick a short one of its own."""
    if not named and not args.quick:
        options.error("name prepared data by --dataset")
    return named or [str(quick_data(folder))]


def optimizer_row(name: str, seed: int, steps: int, dataset: str) -> dict[str, Any]:
    edits, constants = VARIANTS.get(name, ([], {"MATRIX_LR": ADAMW[name]} if name in ADAMW else {}))
    train_mlx = trainer(edits, **{**REFERENCE_CONSTANTS, **constants})
    train = train_mlx.train
    if name == NUMPY:
        train = train_reference
    elif name in ADAMW:
        train = partial(train_adamw, train_mlx)
    bpb, _ = trained(train_mlx, train, data_set(dataset), seed, steps)
    return {"optimizer": name, "seed": seed, "steps": steps, "val_bpb": bpb}
