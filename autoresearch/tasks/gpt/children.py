"""Run as a child of the harness: `prepare.py train`, `prepare.py evaluate` or `prepare.py sample`.

Each child judges one candidate in a process of its own and sends JSON lines over a pipe to measure/follower.py.
prepare.py loads this file by its path. The loop never imports it, since MLX would hold Metal memory there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

import prepare
from prepare import Diverged, Failed, Probing, Run, Task, check_logits, cross_entropy, fixed_tokens, logit_tolerance


def load_candidate(path: Path, sha256: str) -> types.ModuleType:
    """Execute the source, whose bytes must have this hash; inside it `import prepare` finds the harness.

    Raises Failed("source") for other bytes.
    """
    source = path.read_bytes()
    if hashlib.sha256(source).hexdigest() != sha256:
        raise Failed("source", f"{path} is not the source that was proposed (sha256 {sha256[:12]}...)")
    module = types.ModuleType("train_mlx")
    module.__file__ = str(path)
    sys.modules["train_mlx"] = module
    exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    return module


def build(module: types.ModuleType, task: Task, seed: int) -> nn.Module:
    mx.random.seed(seed)
    model = module.build_model(task)
    if not isinstance(model, nn.Module):
        raise Failed("interface", f"build_model(task) must return an mlx.nn.Module, found {type(model).__name__}")
    mx.eval(model.parameters())
    return model


def limit_memory() -> None:
    """Keep MLX inside the GPU's working set, so that a greedy candidate fails instead of making the machine swap."""
    working_set = int(mx.device_info().get("max_recommended_working_set_size", 0))
    if working_set:
        mx.set_memory_limit(int(0.8 * working_set))
        mx.set_cache_limit(min(2 * 10**9, working_set // 4))
        mx.set_wired_limit(int(0.65 * working_set))


def originals() -> dict[tuple[Any, str], Any]:
    """Collect the functions, classes and methods that judging uses, by owner and name."""
    modules, classes = (
        (prepare, prepare.ops, sys.modules[__name__], mx, mx.fast, mx.random, nn, np, math, json, os),
        (Run, Reporter, Probing, nn.Module),
    )
    return {
        (owner, name): value
        for owner in (*modules, *classes)
        for name, value in vars(owner).items()
        if callable(value) or isinstance(value, property)
    }


def check_originals(before: dict[tuple[Any, str], Any]) -> None:
    """Raise Failed("tampered") where one of them was replaced since `before` was collected."""
    for (owner, name), value in before.items():
        if vars(owner).get(name) is not value:
            raise Failed("tampered", f"{owner.__name__.replace('__main__', 'prepare')}.{name} was replaced")


class Reporter:
    """Writer of events as JSON lines, each with the parent's token, so that lines of a candidate do not count."""

    def __init__(self, fd: int, token: str) -> None:
        self.fd, self.token, self.phase = fd, token, "machine"
        self._originals = originals()

    def __call__(self, event: str, **fields: Any) -> None:
        if event == "clock_started":
            self.phase = "train"
        if event in {"warmed_up", "trained", "result"}:
            check_originals(self._originals)
        line = json.dumps({"event": event, "token": self.token, **fields}, default=str) + "\n"
        os.write(self.fd, line.encode())

    def failed(self, kind: str, message: str, detail: str = "") -> int:
        self("failed", kind=kind, message=message[:500], detail=detail[-2500:])
        return 1


def train_child(args: argparse.Namespace, emit: Reporter) -> None:
    """Train the candidate within the budget and save its parameters."""
    this = prepare.task()
    data = prepare.receive_rows(this.seq_len)
    speed_before = prepare.matmul_tflops()
    emit.phase = "import"
    module = load_candidate(args.source, args.sha256)
    emit.phase = "build"
    model = build(module, this, args.seed)
    count = sum(v.size for _, v in tree_flatten(model.parameters()))
    flops = model.flops_per_token() if callable(getattr(model, "flops_per_token", None)) else None
    flops = flops if isinstance(flops, int | float) and math.isfinite(flops) else None
    depth = getattr(module, "DEPTH", None)
    depth = depth if isinstance(depth, int) else None
    emit("ready", num_params=count, flops_per_token=flops, depth=depth, speed=speed_before)
    emit.phase = "warmup"
    run = Run(this, args.seed, model, data, emit)
    module.train(model, run)
    if run._clock_start is None:
        raise Failed("interface", "train(model, run) returned without asking for run.batches(...)")
    parameters = dict(
        tree_flatten(model.parameters())
    )  # these very arrays are saved, whatever the candidate replaces later
    mx.eval(parameters)
    training_s = monotonic() - run._clock_start
    epochs = run._tokens / (len(data) * this.seq_len)
    peak_memory_mb = mx.get_peak_memory() / 2**20
    counts = {"steps": run._steps, "tokens": run._tokens, "epochs": epochs, "step_s": run._step_s}
    emit("trained", **counts, s=training_s, peak_memory_mb=peak_memory_mb)
    emit.phase = "save"
    if not all(mx.isfinite(v).all().item() for v in parameters.values()):
        raise Failed("nonfinite", "the trained parameters are not all finite")
    model.eval()
    logits = model(fixed_tokens(this, args.seed))
    check_logits(logits, (1, this.seq_len, this.vocab_size))
    mx.save_safetensors(str(args.run / "checkpoint.safetensors"), parameters)
    mx.save_safetensors(str(args.run / "fixed.safetensors"), {"logits": logits[:, ::8].astype(mx.float32)})
    emit("saved", speed=prepare.matmul_tflops())


def restore(this: Task, args: argparse.Namespace, emit: Reporter) -> nn.Module:
    """Build the candidate's model anew, load the checkpoint into it, and send the event "ready"."""
    emit.phase = "import"
    module = load_candidate(args.source, args.sha256)
    emit.phase = "build"
    model = build(module, this, args.seed)
    try:
        model.load_weights(str(args.run / "checkpoint.safetensors"), strict=True)
    except (ValueError, RuntimeError) as error:
        raise Failed("checkpoint", f"the checkpoint does not fit a fresh build_model(task): {error}") from error
    model.eval()
    mx.eval(model.parameters())
    emit("ready")
    return model


def evaluate_child(args: argparse.Namespace, emit: Reporter) -> None:
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


def sample_child(args: argparse.Namespace, emit: Reporter) -> None:
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


CHILDREN = {"train": train_child, "evaluate": evaluate_child, "sample": sample_child}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="prepare.py")
    parser.add_argument("child", choices=CHILDREN)
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="rows of an evaluation batch, instead of the profile's")
    parser.add_argument("--order", type=int, help="seed of another order of the evaluation rows")
    args = parser.parse_args(argv)
    emit = Reporter(int(os.environ.pop("AUTORESEARCH_EVENTS_FD")), os.environ.pop("AUTORESEARCH_EVENT_TOKEN"))
    try:
        limit_memory()
        CHILDREN[args.child](args, emit)
    except Failed as error:
        return emit.failed(error.kind, str(error))
    except Diverged as error:
        return emit.failed("diverged", str(error))
    except BaseException as error:  # noqa: BLE001  a candidate may raise anything, SystemExit too
        return emit.failed(emit.phase, f"{type(error).__name__}: {error}", candidate_traceback(args.source))
    return 0


def candidate_traceback(source: Path) -> str:
    """Format the current exception's traceback from the candidate's first frame on, without the harness's frames."""
    kind, error, frame = sys.exc_info()
    frames = traceback.extract_tb(frame)
    own = next((i for i, f in enumerate(frames) if f.filename == str(source)), 0)
    lines = traceback.format_list(frames[own:]) + traceback.format_exception_only(kind, error)
    return "".join(lines).replace(str(source), "train_mlx.py")
