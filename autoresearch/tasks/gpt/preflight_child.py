"""Rehearse one candidate on small random arrays, in a child of the harness, before anything is trained.

The candidate's own build_model and train() run for a few steps, and its model is called as in scoring. What cannot
work fails here within seconds. Sizes are reduced only where no code path depends on them; a failure that the small
sizes cause does not come back at the task's own size (--own-size).
"""

from __future__ import annotations

import argparse
import math
import types
from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

import prepare
from autoresearch.tasks.gpt.children import Reporter, build, load_candidate
from prepare import Failed, Run, Task, check_logits, number, whole_number

SEQ_LEN, VOCAB = 64, 256  # of the small task, at most
ROWS = 3  # of the batch that the finished model is looked at with
PROGRESS = (0.0, 0.6, 0.95)  # of the batches: schedules show their beginning and their end
LOGGED = 2  # losses after which the data end
LEAK = 0.05  # of the largest logit, by which later tokens may move one: rounding in bfloat16 moves less
MOST_BATCHES = 64  # of a train() that logs nothing


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Rehearse the candidate; whatever fails is reported as it would be in training."""
    this = prepare.task()
    emit("importing")
    emit.phase = "import"
    module = load_candidate(args.source, args.sha256)
    task = this if args.own_size else small(this)
    shrink(module, this, task)
    emit.phase = "build"
    model = build(module, task, args.seed)
    run = Rehearsal(task, args.seed, model, emit)
    emit("ready")
    emit.phase = "warmup"
    rehearse(module, model, run)
    emit("result")


def small(this: Task) -> Task:
    """Return the task with short rows and a small vocabulary, which has as many special tokens."""
    vocab_size = min(this.vocab_size, VOCAB)
    special = this.vocab_size - this.bos_id
    return replace(this, seq_len=min(this.seq_len, SEQ_LEN), vocab_size=vocab_size, bos_id=vocab_size - special)


def shrink(module: types.ModuleType, this: Task, task: Task) -> None:
    """Lower the constants that make a step large: its batch, and in a small task the width at the same heads.

    Two micro-batches remain, and attention goes in blocks where it does in the task itself. Constants that are missing
    or of another type stay as they are.
    """
    rows = 2 if task is this else 4
    limits = {"TOTAL_BATCH_SIZE": rows * task.seq_len, "DEVICE_BATCH_SIZE": rows // 2}
    head_dim, aspect_ratio = (_whole(module, name) for name in ("HEAD_DIM", "ASPECT_RATIO"))
    if task is not this:
        limits["QUERY_BLOCK"] = max(1, _whole(module, "QUERY_BLOCK") * task.seq_len // this.seq_len)
        if head_dim > 64 and head_dim % 64 == 0 and aspect_ratio * 64 % head_dim == 0:
            limits |= {"HEAD_DIM": 64, "ASPECT_RATIO": aspect_ratio * 64 // head_dim}
    for name, most in limits.items():
        if _whole(module, name) > most:
            setattr(module, name, most)


def _whole(module: types.ModuleType, name: str) -> int:
    """Return a constant of the candidate, 0 where it has no such whole number."""
    value = getattr(module, name, 0)
    return value if type(value) is int else 0


class Rehearsal(Run):  # type: ignore[misc]  # prepare.py has no types that mypy reads
    """A run of few steps on random tokens, with no feeder and no clock. Its progress jumps to the end of a run."""

    def __init__(self, task: Task, seed: int, model: nn.Module, emit: Reporter) -> None:
        super().__init__(task, seed, model, self._random, emit)
        self._logged = 0
        self._tokens = np.random.default_rng([seed, 4])

    def log(self, step: int, loss: mx.array) -> None:
        """Wait for `loss`. Raises Failed where step or loss is not one number, or the loss is not finite."""
        step, value = whole_number("step", step), number("loss", loss)
        self._logged += 1
        if not math.isfinite(value):
            raise Failed("nonfinite", f"the loss is {value:g} at step {step}, on random tokens")

    def _random(self, rows: int, length: int) -> tuple[float, float, np.ndarray | None]:
        """Answer as prepare.Feed does, with random tokens."""
        all_s = 1e6  # so long that the time which passes changes no progress
        if self._logged >= LOGGED or self._batches >= MOST_BATCHES:
            return all_s, all_s, None
        block = self._tokens.integers(0, self.task.vocab_size, (rows, length + 1), dtype=np.uint16)
        return all_s * PROGRESS[min(self._batches, len(PROGRESS) - 1)], all_s, block


def rehearse(module: types.ModuleType, model: nn.Module, run: Rehearsal) -> None:
    """Train for a few steps and compute logits of several rows. Raises Failed for what can be no result."""
    module.train(model, run)
    if run._clock is None:
        raise Failed("interface", "train(model, run) returned without asking for run.batches(...)")
    for name, value in tree_flatten(model.parameters()):
        if not mx.isfinite(value).all().item():
            what = f"the parameter {name} is not finite after {run._batches} batches: a gradient is not"
            raise Failed("nonfinite", what)
    if prepare.parameter_hash(model) == run._fingerprint:
        raise Failed("interface", "train(model, run) left every parameter as build_model(task) made it")
    model.eval()
    look(model, run.task)


def look(model: nn.Module, task: Task) -> None:
    """Raise Failed where the model gives no logits for several rows, or logits that depend on later tokens."""
    V, half = task.vocab_size, max(1, task.seq_len // 2)
    rows = mx.array(np.random.default_rng(5).integers(0, V, (ROWS, task.seq_len), dtype=np.int32))
    logits = model(rows)
    check_logits(logits, (*rows.shape, V))
    others = model(mx.concatenate([rows[:, :half], (rows[:, half:] + 1) % V], axis=1))
    moved, size = (mx.abs(x[:, :half].astype(mx.float32)).max().item() for x in (others - logits, logits))
    if moved > LEAK * size:
        what = "the logits of a token change with later tokens: the model sees what it predicts"
        raise Failed("probe_causality", what)
