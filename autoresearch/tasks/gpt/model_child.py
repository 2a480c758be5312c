"""Turn tokens into logits with one checkpoint, in a child of the harness that runs the candidate's code.

It sees no validation file and no target, and nothing that it says is a verdict: the judge's process (judge.py) sends
batches of tokens through shared memory and computes the score from the logits.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

import prepare
from autoresearch.tasks.gpt.children import Reporter, restore
from autoresearch.tasks.gpt.wire import HELLO, PLACES, Gone, ModelsEnd, Sizes, inherited


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Answer the judge's batches until it has enough."""
    this = prepare.task()
    model = restore(this, args, emit)
    emit.phase = "evaluate"
    judge = ModelsEnd(inherited(0), Sizes(args.rows or this.eval_rows, this.seq_len, this.vocab_size))
    with contextlib.suppress(Gone):
        judge.send(HELLO)
        serve(judge, forward(model, this.vocab_size))


def forward(model: nn.Module, vocab_size: int) -> Callable[[np.ndarray], mx.array]:
    """Return a function from tokens (B, T) to logits (B * T, V), in evaluation, dealt to the CPU's cores by rows."""
    compiled = mx.compile(lambda x: model(x), inputs=model.state)

    def checked(x: mx.array) -> mx.array:
        logits = compiled(x)
        prepare.check_logits_type(logits, (*x.shape, vocab_size))
        logits = logits if logits.dtype == mx.bfloat16 else logits.astype(mx.float32)
        return logits.reshape(-1, vocab_size)

    def computed(tokens: np.ndarray) -> mx.array:
        parts = mx.split(mx.array(tokens), prepare.even_streams(len(tokens)))
        return mx.concatenate(prepare.parallel(checked, parts)) if len(parts) > 1 else checked(parts[0])

    return computed


def serve(judge: ModelsEnd, logits_of: Callable[[np.ndarray], mx.array]) -> None:
    """Answer batch after batch. While one is passed on, the next is computed. Raises Gone when the judge has left."""
    computing: deque[mx.array] = deque()
    while True:
        tokens = judge.take(wait=not computing)
        if tokens is not None:
            computing.append(logits_of(tokens))
            mx.async_eval(computing[-1])
        if tokens is None or len(computing) == PLACES:
            logits = plain(computing.popleft())
            if not computing:  # else the next evaluation raises it
                prepare.raise_what_failed()
            judge.answer(logits)


def plain(logits: mx.array) -> np.ndarray[Any, Any]:
    """Return logits as NumPy sees them, without a copy: float32, or the bits of bfloat16."""
    logits = mx.contiguous(logits)
    return np.array(logits if logits.dtype == mx.float32 else logits.view(mx.uint16), copy=False)
