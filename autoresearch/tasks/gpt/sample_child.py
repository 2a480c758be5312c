"""Continue texts with one checkpoint, in a child of the harness."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import mlx.core as mx
import numpy as np

import prepare
from autoresearch.tasks.gpt.children import Reporter, restore
from prepare import Task


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Continue the prompts of standard input: {"prompts": [[ids]], "tokens", "temperature", "seed", "whole"}."""
    this, asked = prepare.task(), json.load(sys.stdin)
    model = restore(this, args, emit)
    emit.phase = "sample"
    texts = continue_texts(model, this, **asked)
    emit("result", texts=texts)


def continue_texts(
    model: Callable[[mx.array], mx.array],
    task: Task,
    prompts: list[list[int]],
    tokens: int,
    temperature: float,
    seed: int,
    whole: bool,
) -> list[list[int]]:
    """Return up to `tokens` more tokens after each prompt; a text ends before a special token.

    Temperature 0 takes the likeliest token. Rows are padded at the right, which no causal model sees, to a power of two
    or, if `whole`, to the task's context.
    """
    texts, going = [list(p) for p in prompts], list(range(len(prompts)))
    key = mx.random.key(seed)
    while going and tokens > 0:
        tails = [texts[i][-task.seq_len :] for i in going]
        longest = max(map(len, tails))
        length = task.seq_len if whole else min(task.seq_len, max(32, 1 << (longest - 1).bit_length()))
        rows = np.full((len(going), length), task.bos_id, dtype=np.int32)
        for row, tail in zip(rows, tails, strict=True):
            row[: len(tail)] = tail
        ends = mx.array([len(tail) - 1 for tail in tails])
        logits = model(mx.array(rows))[mx.arange(len(going)), ends].astype(mx.float32)  # (B, V)
        key, now = mx.random.split(key)
        chosen = mx.random.categorical(logits / temperature, key=now) if temperature > 0 else logits.argmax(-1)
        pairs = [(i, token) for i, token in zip(going, chosen.tolist(), strict=True) if token < task.bos_id]
        for i, token in pairs:
            texts[i].append(token)
        going, tokens = [i for i, _ in pairs], tokens - 1
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
