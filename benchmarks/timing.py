"""Time pieces of the trainer: train_mlx.py with constants set, tasks of random tokens, seconds and peak memory."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

import prepare
from autoresearch.candidate.constants import assign
from autoresearch.tasks.gpt.data.profiles import TINY
from autoresearch.tasks.gpt.workbench import children_environment
from benchmarks import cli
from testbed.toy import ROOT

TINY_CONSTANTS = {
    "DEPTH": 4,
    "ASPECT_RATIO": 32,
    "HEAD_DIM": 64,
    "TOTAL_BATCH_SIZE": 4096,
    "DEVICE_BATCH_SIZE": 16,
    "BIGRAM_ROWS": 16,
}
REFERENCE_CONSTANTS = {**TINY_CONSTANTS, "BIGRAM_ROWS": 0}  # the reference setup has no bigrams
MIB = 2**20
ENVIRONMENT = children_environment(lambda line: None)


def arguments(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark that times MLX, after a restart in the environment of the loop's children.

    MLX and BLAS read their variables when they are loaded, so the process replaces itself once.
    """
    if "AUTORESEARCH_BENCHMARK" not in os.environ:
        env = {"AUTORESEARCH_BENCHMARK": "1", **ENVIRONMENT, **os.environ}
        os.execve(sys.executable, sys.orig_argv, env)
    options = cli.parser(name, doc)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    return options


def trainer(edits: Sequence[tuple[str, str]] = (), **constants: Any) -> ModuleType:
    """Load train_mlx.py with constants set and each (old, new) text replaced.

    Raises ValueError when an old text does not stand in the file exactly once.
    """
    source = (ROOT / "train_mlx.py").read_text()
    for name, value in constants.items():
        source = assign(source, name, repr(value))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"train_mlx.py has {source.count(old)} places that read {old!r}, not one")
        source = source.replace(old, new)
    return execute(source)


def execute(source: str) -> ModuleType:
    """Load a source of train_mlx.py as a module."""
    module = ModuleType("train_mlx")
    exec(compile(source, str(ROOT / "train_mlx.py"), "exec", dont_inherit=True), module.__dict__)
    return module


def toy_task(
    seq_len: int = TINY.seq_len, vocab_size: int = TINY.vocab_size, eval_rows: int = TINY.eval_rows
) -> prepare.Task:
    """Return a task of random tokens, for what costs the same whatever the text says."""
    return prepare.Task("random", "tiny", "0" * 16, seq_len, vocab_size, vocab_size - 4, 65536, eval_rows, 60.0)


def random_batch(task: prepare.Task, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
    """Return inputs and targets of random tokens, each (rows, seq_len)."""
    shape = (2, rows, seq_len or task.seq_len)
    x, y = mx.array(np.random.default_rng(0).integers(0, task.vocab_size, shape, dtype=np.int32))
    return x, y


def training_step(train_mlx: ModuleType, task: prepare.Task) -> Callable[[], Any]:
    """Build a model and return a call that gives the arrays of one step: loss, parameters, optimizer state."""
    model = train_mlx.build_model(task)
    mx.eval(model.state)
    optimizer = train_mlx.MuonAdamW(model)
    rows, micro_batches = train_mlx.batch_shape(task.seq_len)
    batches = [random_batch(task, rows)] * micro_batches
    step = train_mlx.compiled_step(model, optimizer)
    return lambda: [step(batches, train_mlx.hyperparameters(0.0, 0)), model.state, optimizer.state]


def measure(makers: Mapping[str, Callable[[], Callable[[], Any]]], repeats: int) -> dict[str, dict[str, float]]:
    """Measure each call: {name: {"s": seconds, "cpu_s": seconds of processor, "peak_mib": MiB}}.

    A maker builds a call, and the call returns arrays to evaluate. A peak is measured with nothing else in memory.
    Seconds are the least of the repeats, which alternate between the calls: other work on the machine only adds.
    """
    found = {name: {"peak_mib": peak_mib(make)} for name, make in makers.items()}
    calls = {name: warmed(make) for name, make in makers.items()}
    for _ in range(repeats):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            mx.eval(call())
            seconds = {"s": time.perf_counter() - start, "cpu_s": time.process_time() - used}
            found[name] |= {key: min(value, found[name].get(key, value)) for key, value in seconds.items()}
    return found


def warmed(make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Build a call and run it twice, so that nothing is left to allocate or compile."""
    call = make()
    mx.eval(call())
    mx.eval(call())
    return call


def peak_mib(make: Callable[[], Callable[[], Any]]) -> float:
    """Return the memory in MiB that a call needs at its peak, beyond what was in use before it was built."""
    before = mx.get_active_memory()
    call = warmed(make)
    mx.reset_peak_memory()
    mx.eval(call())
    mx.eval(call())
    return (mx.get_peak_memory() - before) / MIB


def primitives(arrays: Any) -> int:
    """Count the operations that evaluating the arrays takes: nodes of their graph; a compiled group is one."""
    return len(operation_names(arrays))


def fused_kernels(arrays: Any) -> int:
    """Count the kernels that mx.compile fuses for the arrays' graph, each one once: what has to be compiled."""
    return len({name for name in operation_names(arrays) if name.startswith("Compiled")})


def operation_names(arrays: Any) -> list[str]:
    graph = io.StringIO()
    mx.export_to_dot(graph, *(a for _, a in tree_flatten(arrays)))
    return re.findall(r'\[label ="([^"]*)"', graph.getvalue())


def report(rows: Sequence[cli.Row], args: argparse.Namespace) -> int:
    """Print the rows below the setting, which names MLX's device and the variables that its speed depends on."""
    environment = " ".join(f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ)
    return cli.report(rows, args, device=mx.default_device().type.name, environment=environment)
