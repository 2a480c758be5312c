"""Run as a child of the harness: `prepare.py preflight`, `train`, `model`, `judge` or `sample`.

Each child is a process of its own and sends JSON lines over a pipe to measure/follower.py. prepare.py loads this file
and the child's own by their paths. The loop never imports them, since MLX would hold Metal memory there. What the
children do is in preflight_child.py, train_child.py, model_child.py, judge.py and sample_child.py; here is what they
share.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import sys
import traceback
import types
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

import prepare
from prepare import Diverged, Failed, Run, Task


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
    np.random.seed(seed)
    random.seed(seed)
    model = module.build_model(task)
    if not isinstance(model, nn.Module):
        raise Failed("interface", f"build_model(task) must return an mlx.nn.Module, found {type(model).__name__}")
    mx.eval(model.parameters())
    return model


def limit_memory() -> None:
    """Make MLX free its cache and wait for its GPU before it holds more than the working set.

    MLX takes the limit as a guideline and goes beyond it; the parent ends a candidate that holds too much.
    """
    info = mx.device_info()  # the first is Metal's, the second CUDA's
    working_set = int(info.get("max_recommended_working_set_size", 0) or info.get("total_memory", 0))
    if working_set:
        mx.set_memory_limit(int(0.8 * working_set))
        mx.set_cache_limit(min(2 * 10**9, working_set // 4))
    if working_set and mx.metal.is_available():
        mx.set_wired_limit(int(0.65 * working_set))


def originals() -> dict[tuple[Any, str], Any]:
    """Collect the functions, classes and methods that judging uses, by owner and name."""
    own = [module for name, module in sys.modules.items() if name.startswith(f"{prepare.BESIDE}.")]
    modules, classes = (
        (prepare, *own, mx, mx.fast, mx.random, nn, np, math, json, os),
        (Run, Reporter, nn.Module),
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
        if event in {"warmed_up", "trained", "result"}:
            check_originals(self._originals)
        if event == "warmed_up":
            self.phase = "train"
        line = json.dumps({"event": event, "token": self.token, **fields}) + "\n"
        os.write(self.fd, line.encode())

    def failed(self, kind: str, message: str, detail: str = "") -> int:
        self("failed", kind=kind[:40], message=message[:500], detail=detail[-2500:])
        return 1


def restore(this: Task, args: argparse.Namespace, emit: Reporter) -> nn.Module:
    """Build the candidate's model anew, load the checkpoint into it, and send the event "ready"."""
    emit("importing")
    emit.phase = "import"
    module = load_candidate(args.source, args.sha256)
    emit.phase = "build"
    model = build(module, this, args.seed)
    initial = prepare.parameter_hash(model)
    try:
        model.load_weights(str(args.run / "checkpoint.safetensors"), strict=True)
    except (ValueError, RuntimeError) as error:
        raise Failed("checkpoint", f"the checkpoint does not fit a fresh build_model(task): {error}") from error
    model.eval()
    mx.eval(model.parameters())
    emit("ready", parameters=initial)
    return model


# The files that each child runs, in the order in which they import each other; the last one has its `main`.
CHILDREN = {
    "preflight": ("preflight_child",),
    "train": ("train_child",),
    "model": ("wire", "model_child"),
    "judge": ("wire", "probes", "judge"),
    "sample": ("sample_child",),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="prepare.py")
    parser.add_argument("child", choices=CHILDREN)
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", type=Path, help="the candidate; the judge is not given it")
    parser.add_argument("--sha256", help="of the source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="rows of an evaluation batch, instead of the profile's")
    parser.add_argument("--order", type=int, help="seed of another order of the evaluation rows")
    parser.add_argument("--train", type=Path, help="the training rows, of which the judge makes natural tails")
    parser.add_argument("--ceiling", type=float, help="a val_bpb above which few probes are enough")
    parser.add_argument("--tolerance", type=float, help="nats by which a probe may move the loss of a target")
    parser.add_argument("--own-size", action="store_true", help="of the preflight: with the task's own numbers")
    args = parser.parse_args(argv)
    emit = Reporter(int(os.environ.pop("AUTORESEARCH_EVENTS_FD")), os.environ.pop("AUTORESEARCH_EVENT_TOKEN"))
    try:
        limit_memory()
        modules = [prepare.beside(name) for name in CHILDREN[args.child]]
        modules[-1].main(args, emit)
    except Failed as error:
        return emit.failed(error.kind, str(error))
    except Diverged as error:
        return emit.failed("diverged", str(error))
    except BaseException as error:  # noqa: BLE001  a candidate may raise anything, SystemExit too
        return emit.failed(emit.phase, f"{type(error).__name__}: {error}", candidate_traceback(args.source))
    return 0


def candidate_traceback(source: Path | None) -> str:
    """Format the current exception's traceback from the candidate's first frame on, without the harness's frames."""
    kind, error, frame = sys.exc_info()
    frames = traceback.extract_tb(frame)
    own = next((i for i, f in enumerate(frames) if f.filename == str(source)), 0)
    shown = [(f.filename, f.lineno or 0, f.name, f.line) for f in frames[own:]]  # without marks below the lines
    lines = traceback.format_list(shown) + traceback.format_exception_only(kind, error)
    return "".join(lines).replace(str(source or "train_mlx.py"), "train_mlx.py")
