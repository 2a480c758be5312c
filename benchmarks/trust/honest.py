"""Count false alarms: honest models with random weights, each in many whole evaluations with new weights and rows.

Rows of 64 tokens in batches of 4, at the smallest tolerance that a night can have. Printed is the largest change of
any target's loss. The last row is train_mlx.py in the tiny profile's own shape.

Cuts, copies, cross-entropies and comparisons are the judge's own code, called in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

import prepare
from autoresearch.measure.workbench import PROBE_NATS
from autoresearch.tasks.gpt.data.profiles import TINY
from autoresearch.tasks.gpt.model_child import forward
from autoresearch.tasks.gpt.wire import Sizes
from benchmarks.cli import Row
from benchmarks.timing import TINY_CONSTANTS, arguments, report, toy_task, trainer
from testbed.judging import Model, largest_change

SMALL = {"DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 16}
SHAPE = Sizes(4, 64, 128)


class Mixer(nn.Module):
    """A causal model without attention: it mixes tokens by `mix` (B, T, C) -> (B, T, C)."""

    def __init__(self, mix: Callable[[mx.array], mx.array]) -> None:
        super().__init__()
        self.wte, self.head = nn.Embedding(SHAPE.vocab, 32), nn.Linear(32, SHAPE.vocab)
        self.mix = mix

    def __call__(self, x: mx.array) -> mx.array:
        logits: mx.array = self.head(self.mix(self.wte(x)))
        return logits


def convolved(x: mx.array) -> mx.array:
    """Convolve with a decaying kernel by the discrete Fourier transform, whose rounding sees every position."""
    T = x.shape[1]
    kernel = mx.exp(-mx.arange(T) / 5.0)
    product = mx.fft.rfft(x, 2 * T, axis=1) * mx.fft.rfft(kernel, 2 * T)[None, :, None]
    return mx.fft.irfft(product, 2 * T, axis=1)[:, :T]


def averaged(x: mx.array) -> mx.array:
    return mx.cumsum(x, axis=1) / mx.arange(1, x.shape[1] + 1)[:, None]


def depthwise(x: mx.array) -> mx.array:
    weight = mx.ones((x.shape[2], 5, 1)) / 5
    return mx.conv1d(mx.pad(x, [(0, 0), (4, 0), (0, 0)]), weight, groups=x.shape[2])


def trained(**constants: Any) -> nn.Module:
    task = toy_task(SHAPE.length, SHAPE.vocab, SHAPE.rows)
    model: nn.Module = trainer(**{**TINY_CONSTANTS, **SMALL, **constants}).build_model(task)
    return model


HONEST: dict[str, Callable[[], nn.Module]] = {
    "train_mlx.py": trained,
    "windows": partial(trained, WINDOW_PATTERN="SL"),
    "attention in blocks": partial(trained, WINDOW_PATTERN="SSL", QUERY_BLOCK=16),
    "bfloat16": partial(trained, COMPUTE_DTYPE="bfloat16"),
    "float16 logits": lambda: Mixer(lambda x: averaged(x).astype(mx.float16)),
    "prefix means": lambda: Mixer(averaged),
    "depthwise convolution": lambda: Mixer(depthwise),
    "convolution by FFT": lambda: Mixer(convolved),
}


def main(argv: Sequence[str]) -> int:
    args = arguments("trust honest", __doc__).parse_args(argv)
    kinds = dict(list(HONEST.items())[-2:]) if args.quick else HONEST
    each = 2 if args.quick else 125
    rows = [honest_row(name, make, SHAPE, each) for name, make in kinds.items()]
    if not args.quick:
        whole = Sizes(TINY.eval_rows, TINY.seq_len, TINY.vocab_size)
        make = partial(trainer(**TINY_CONSTANTS).build_model, toy_task())
        rows.append(honest_row("train_mlx.py, tiny", make, whole, 3))
    return report(rows, args)


def honest_row(name: str, make: Callable[[], nn.Module], sizes: Sizes, evaluations: int) -> Row:
    alarms, largest = 0, 0.0
    for seed in range(evaluations):
        rng = np.random.default_rng(seed)
        rows, training = (rng.integers(0, sizes.vocab, (n, sizes.length + 1), dtype=np.int32) for n in (64, 40))
        mx.random.seed(seed)
        model = spread(make())
        make_again = partial(evaluating, model, sizes.vocab)
        try:
            change = largest_change(make_again, rows[: 4 * sizes.rows], training, sizes, 32, rng, PROBE_NATS[0])
            largest = max(largest, change)
        except prepare.Failed as error:
            print(name, seed, error)
            alarms += 1
    return {"honest model": name, "evaluations": evaluations, "false alarms": alarms, "largest_nats": largest}


def evaluating(model: nn.Module, vocab_size: int) -> Model:
    """Return the model as the model's process runs it."""
    logits_of = forward(model, vocab_size)
    return lambda tokens: logits_of(np.array(tokens))


def spread(model: nn.Module) -> nn.Module:
    """Give zero and small weights random values, so that nothing in the model is idle, and switch it to evaluation."""
    changed = [
        (name, v + (0.2 * mx.random.normal(v.shape)).astype(v.dtype)) for name, v in tree_flatten(model.parameters())
    ]
    model.load_weights(changed)
    model.eval()
    return model
