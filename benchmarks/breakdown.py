"""Where do a run's seconds go: data, forward, backward, optimizer, harness, evaluation?

    uv run benchmarks/breakdown.py [--quick] [--json FILE]

Each part alone, on the tiny profile's model and the harness's own code, as a share of a step's seconds. "Waiting" is
what reading the loss one step late costs: a loop of steps that does, less one that queues all its steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import TINY_CONSTANTS, arguments, measure, random_batch, report, toy_task, trainer

import prepare

LOOP = 6  # steps in a row, where it is about what lies between them


def least(call: Callable[[], Any], repeats: int) -> float:
    """The least seconds of a call that leaves nothing to evaluate."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def harness(task: prepare.Task, model: nn.Module, rows: int, repeats: int) -> tuple[float, float]:
    """Seconds of a batch, and of the clock and the log, a step: prepare.Run over random rows."""
    data = np.random.default_rng(0).integers(0, task.vocab_size, (4096, task.seq_len + 1)).astype("<u2")
    run = prepare.Run(task, 0, model, data, lambda *a, **k: None)
    batches, loss = run.batches(rows), mx.array(1.0)
    mx.eval(next(batches))
    data_s = least(lambda: mx.eval(next(batches)), repeats)
    return data_s, least(lambda: (run.progress, run.log(5, loss)), repeats)


def waiting(step: Callable[[], Any], state: Any, repeats: int) -> float:
    """Seconds a step that a loop loses by reading the loss of the step before, as train() does."""

    def loop(reads: bool) -> None:
        losses: list[mx.array] = []
        for _ in range(LOOP):
            losses.append(step())
            mx.async_eval(losses[-1], state)
            if reads and len(losses) > 1:
                losses[-2].item()
        mx.eval(losses[-1], state)

    found = [(least(lambda: loop(True), 1), least(lambda: loop(False), 1)) for _ in range(repeats)]
    reading, queueing = (min(seconds) for seconds in zip(*found, strict=True))
    return (reading - queueing) / LOOP


def dealt(call: Callable[..., Any], batches: list[tuple[mx.array, mx.array]]) -> list[Any]:
    """The call on every batch, side by side on a CPU's cores, as a step and the evaluation do it."""
    return prepare.parallel(lambda batch: call(*batch), batches)


def main() -> int:
    args = arguments(__doc__).parse_args()
    repeats = 3 if args.quick else 15
    task, train_mlx = toy_task(), trainer(**TINY_CONSTANTS)
    rows, micro_batches = train_mlx.batch_shape(task.seq_len)
    model = train_mlx.build_model(task)
    optimizer, batches = train_mlx.MuonAdamW(model), [random_batch(task, rows)] * micro_batches
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    gradients = loss_and_grad(*batches[0])[1]
    cores = prepare.even_streams(task.eval_rows)
    evaluation = [random_batch(task, task.eval_rows // cores)] * cores
    step = train_mlx.compiled_step(model, optimizer)
    hyper = train_mlx.hyperparameters(0.0, 0)

    def update() -> Any:
        optimizer.update(model, gradients, hyper)
        return [model.state, optimizer.state]

    mx.eval(gradients)
    data_s, log_s = harness(task, model, rows, repeats)
    found = measure(
        {
            "step": lambda: lambda: [step(batches, hyper), model.state, optimizer.state],
            "forward": lambda: lambda: dealt(lambda x, y: prepare.cross_entropy(model(x), y), batches),
            "both": lambda: lambda: dealt(loss_and_grad, batches),
            "optimizer": lambda: update,
            "evaluation": lambda: lambda: dealt(lambda x, y: prepare.cross_entropy(model(x), y, "none"), evaluation),
        },
        repeats,
    )
    seconds = {name: f["s"] for name, f in found.items()}
    waiting_s = waiting(lambda: step(batches, hyper), [model.state, optimizer.state], 1 if args.quick else 4)
    parts = {
        "data": data_s,
        "forward": seconds["forward"],
        "backward": seconds["both"] - seconds["forward"],
        "optimizer": seconds["optimizer"],
        "clock and log": log_s,
        "waiting": waiting_s,
        "whole step": seconds["step"],
    }
    table = [{"part": name, "ms": 1000 * s, "percent": 100 * s / seconds["step"]} for name, s in parts.items()]
    per_million = seconds["evaluation"] / (task.eval_rows * task.seq_len) * 1e6
    return report([*table, {"part": "evaluation, a million tokens", "ms": 1000 * per_million}], args)


if __name__ == "__main__":
    raise SystemExit(main())
