"""Train one candidate in a child of the harness: import, build, warm up, train by the clock, save."""

from __future__ import annotations

import argparse
import os
import types
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

import prepare
from autoresearch.tasks.gpt.children import Reporter, build, load_candidate
from prepare import Failed, Run, check_logits, fixed_tokens

FEEDER = ("AUTORESEARCH_REQUESTS_FD", "AUTORESEARCH_BATCHES_FD")  # the child's ends of the loop's feeder


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Train the candidate within the budget and save its parameters."""
    this = prepare.task()
    feed = prepare.Feed(*(int(os.environ.pop(name)) for name in FEEDER))
    emit("importing", speed=prepare.matmul_tflops())
    emit.phase = "import"
    module = load_candidate(args.source, args.sha256)
    emit.phase = "build"
    model = build(module, this, args.seed)
    run = Run(this, args.seed, model, feed, emit)
    emit("ready", **facts(model, module), parameters=run._fingerprint)
    emit.phase = "warmup"
    module.train(model, run)
    if run._clock is None:
        raise Failed("interface", "train(model, run) returned without asking for run.batches(...)")
    parameters = dict(tree_flatten(model.parameters()))  # they are saved, whatever the candidate replaces later
    mx.eval(parameters)
    prepare.raise_what_failed()
    emit("trained", steps=run._steps, peak_memory_mb=mx.get_peak_memory() / 2**20)
    emit("hashed", parameters=prepare.array_hash(parameters))
    emit.phase = "save"
    if not all(mx.isfinite(v).all().item() for v in parameters.values()):
        raise Failed("nonfinite", "the trained parameters are not all finite")
    model.eval()
    logits = model(fixed_tokens(this, args.seed))
    check_logits(logits, (1, this.seq_len, this.vocab_size))
    mx.save_safetensors(str(args.run / "checkpoint.safetensors"), parameters)
    mx.save_safetensors(str(args.run / "fixed.safetensors"), {"logits": logits[:, ::8].astype(mx.float32)})
    speed = prepare.matmul_tflops()
    reduced = mx.default_device() == mx.gpu and getattr(module, "COMPUTE_DTYPE", None) == "bfloat16"
    emit("saved", speed=speed, product=prepare.matmul_tflops(mx.bfloat16) if reduced else speed)


def facts(model: nn.Module, module: types.ModuleType) -> dict[str, Any]:
    """Count the parameters, and take what the candidate says of its model; what is not a number is left out."""
    count = sum(v.size for _, v in tree_flatten(model.parameters()))
    flops = model.flops_per_token() if callable(getattr(model, "flops_per_token", None)) else None
    flops = flops if isinstance(flops, int | float) and 0 <= flops <= 1e18 else None
    depth = getattr(module, "DEPTH", None)
    depth = depth if isinstance(depth, int) and not isinstance(depth, bool) and 0 <= depth <= 10**6 else None
    return {"num_params": count, "flops_per_token": flops, "depth": depth}
