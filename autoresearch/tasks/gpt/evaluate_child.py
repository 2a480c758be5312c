"""Score one checkpoint in a child of the harness, with probes."""

from __future__ import annotations

import argparse
import math
from time import monotonic

import mlx.core as mx
import numpy as np

import prepare
from autoresearch.tasks.gpt.children import Reporter, restore
from prepare import Failed, Probing, check_logits, cross_entropy, fixed_tokens, logit_tolerance


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Score the checkpoint on the rows of standard input, with probes, and send the event "result"."""
    this = prepare.task()
    rows, token_bytes = prepare.receive_rows(this.seq_len), np.load(prepare.data_folder() / "token_bytes.npy")
    if args.order is not None:
        rows = rows[np.random.default_rng(args.order).permutation(len(rows))]
    batch_rows = args.rows or this.eval_rows
    model = restore(this, args, emit)
    emit.phase = "evaluate"
    fixed, stored = fixed_tokens(this, args.seed), mx.load(str(args.run / "fixed.safetensors"))["logits"]
    again = model(fixed)
    check_logits(again, (1, this.seq_len, this.vocab_size))
    message = "the restored model computes other logits than the trained one: there is state outside parameters()"
    everywhere = mx.ones(stored.shape[:2], dtype=mx.bool_)
    prepare.check_same(again[:, ::8], stored, fixed[:, ::8], everywhere, logit_tolerance(again), "checkpoint", message)

    def score(x: mx.array, y: mx.array) -> mx.array:
        cores = prepare.even_streams(len(x))
        parts = zip(mx.split(x, cores), mx.split(y, cores), strict=True)
        return mx.concatenate(prepare.parallel(lambda part: cross_entropy(model(part[0]), part[1], "none"), parts))

    block = rows[:batch_rows]
    first = model(mx.array(block[:, :-1].astype(np.int32)))
    check_logits(first, (*block[:, :-1].shape, this.vocab_size))
    start = monotonic()
    batches, shape = -(-len(rows) // batch_rows), (len(block), this.seq_len)
    scoring = Probing(mx.compile(score, inputs=model.state), batches, shape, this.vocab_size, logit_tolerance(first))
    val_bpb, nats, size = prepare.evaluate_bpb(scoring, rows, token_bytes, batch_rows, emit)
    seconds = monotonic() - start
    if not math.isfinite(val_bpb) or val_bpb <= 0:
        raise Failed("nonfinite", f"val_bpb came out as {val_bpb}")
    peak_memory_mb = mx.get_peak_memory() / 2**20
    emit("result", val_bpb=val_bpb, nats=nats, bytes=size, s=seconds, peak_memory_mb=peak_memory_mb)
