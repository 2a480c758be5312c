"""Run the harness. DO NOT CHANGE: it owns the task, the data at run time, the clock and the fixed metric.

    python prepare.py [--dataset NAME|PATH] [--profile mac|tiny]    download, tokenize and pack the data, once
    python -P prepare.py preflight RUN ...                          the preflight child: a few steps on small arrays
    python -P prepare.py train RUN ...                              the train child: one candidate, one clock
    python -P prepare.py model RUN ...                              the model child: tokens in, logits out
    python -P prepare.py judge RUN ...                              the judge: rows, probes, one number; no candidate
    python -P prepare.py sample RUN ...                             the sample child: what a checkpoint writes

A candidate sees the first section, from `Task` to `main`, and what autoresearch/tasks/gpt/ops.py offers. Everything
else is the judge's. What the children do stands in autoresearch/tasks/gpt/; autoresearch/measure/ starts them and reads
their JSON lines. Each is a process of its own: evaluation cannot run out of memory because training did, and the code
of a candidate never shares an interpreter with what computes its score.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import resource
import struct
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

try:
    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np
    from mlx.utils import tree_flatten
except ModuleNotFoundError as missing:  # of a Python that is not this project's
    sys.exit(f"error: the package {missing.name} is not installed here. Run: uv run {' '.join(sys.argv)}")

BESIDE = "autoresearch.tasks.gpt"  # the package whose files stand beside this one
PRODUCT_S = 0.02  # a GPU's speed is measured by products that take about as long
EXPLODED = 3.0  # a training loss above this many times ln(vocab_size) has diverged


def beside(name: str) -> types.ModuleType:
    """Load autoresearch/tasks/gpt/NAME.py from beside this very file, which may be a night's own copy.

    Files that are loaded so import each other by their full names, though a child cannot read the package around them.
    """
    if f"{BESIDE}.{name}" in sys.modules:
        return sys.modules[f"{BESIDE}.{name}"]
    path = Path(__file__).parent.joinpath(*BESIDE.split("."), f"{name}.py")
    module = types.ModuleType(f"{BESIDE}.{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    return module


ops = beside("ops")
cross_entropy, chunked_cross_entropy = ops.cross_entropy, ops.chunked_cross_entropy
relu_squared, soft_cap = ops.relu_squared, ops.soft_cap
attention, attend_in_blocks, has_fused_attention = ops.attention, ops.attend_in_blocks, ops.has_fused_attention
even_streams, parallel, streams = ops.even_streams, ops.parallel, ops.streams


# --- what the editable file sees -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """The facts of a prepared data set; results compare only within one fingerprint and budget."""

    dataset: str
    profile: str
    fingerprint: str
    seq_len: int  # tokens of context that evaluation uses
    vocab_size: int
    bos_id: int
    eval_tokens: int  # target tokens that the metric is computed on
    eval_rows: int  # rows of one evaluation batch
    budget_s: float  # seconds of training; start-up, warm-up and evaluation excluded


class Diverged(Exception):
    """Raised when the training loss is not finite, or has exploded."""


class Feed:
    """The child's end of the loop's feeder (autoresearch/measure/feeder.py), which holds the data and the clock."""

    REQUEST = struct.Struct("<II")  # rows, tokens of a row
    ANSWER = struct.Struct("<ddI")  # seconds used, seconds in all, tokens that follow as uint16; none at the end
    MOST_TOKENS = 2**24  # of one batch

    def __init__(self, requests: int, batches: int) -> None:
        """Take the file descriptors of the two pipes."""
        self.requests, self.batches = requests, os.fdopen(batches, "rb")

    def __call__(self, rows: int, length: int) -> tuple[float, float, np.ndarray | None]:
        """Return the seconds used, those in all, and the next batch, (rows, length + 1) uint16; None at the end."""
        os.write(self.requests, self.REQUEST.pack(rows, length))
        used_s, all_s, count = self.ANSWER.unpack(self._read(self.ANSWER.size))
        if not count:
            return used_s, all_s, None
        return used_s, all_s, np.frombuffer(self._read(2 * count), dtype="<u2").reshape(rows, length + 1)

    def _read(self, size: int) -> bytes:
        found = self.batches.read(size)
        if len(found) < size:
            raise Failed("train", "the loop hands out no more data")
        return found


class Run:
    """A training run: the batches, the clock and the log. The first real batch starts the clock."""

    def __init__(self, task: Task, seed: int, model: nn.Module, feed: Feed, emit: Callable[..., None]) -> None:
        self._given = task, seed
        self._model, self._feed, self._emit = model, feed, emit
        self._fingerprint = parameter_hash(model)
        self._warm = np.random.default_rng([seed, 1])
        self._clock: tuple[float, float] | None = None  # when it began, and the seconds in all
        self._last_warmup, self._last_event = work_clock(), monotonic()
        self._steps = self._batches = 0

    @property
    def task(self) -> Task:
        return self._given[0]

    @property
    def seed(self) -> int:
        return self._given[1]

    @property
    def progress(self) -> float:
        """Used budget / budget, from 0 to 1."""
        if self._clock is None:
            return 0.0
        began, all_s = self._clock
        return min(1.0, (monotonic() - began) / all_s) if all_s else 1.0

    def warmup_batch(self, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
        """Draw random tokens, two (rows, seq_len) int32 arrays, to compile and warm up with before the clock starts."""
        self._last_warmup = work_clock()
        shape = (2, rows, seq_len or self.task.seq_len)
        x, y = mx.array(self._warm.integers(0, self.task.vocab_size, shape, dtype=np.int32))
        return x, y

    def batches(self, rows: int, seq_len: int | None = None) -> Iterator[tuple[mx.array, mx.array]]:
        """Yield inputs and targets, two (rows, seq_len) int32 arrays, until the budget is used.

        The rows of the training data come in an order drawn from the seed, every row once an epoch. A `seq_len` below
        the task's cuts each row into as many pieces as fit. The loop hands them out and keeps the time. Raises
        ValueError for rows or seq_len out of range.
        """
        length = seq_len or self.task.seq_len
        fits = rows >= 1 and rows * (length + 1) <= Feed.MOST_TOKENS
        if not (1 <= length <= self.task.seq_len and fits):
            limits = f"seq_len 1..{self.task.seq_len}, rows >= 1, and at most {Feed.MOST_TOKENS} tokens"
            raise ValueError(f"batches(rows={rows}, seq_len={length}): {limits}")
        if self._clock is None:
            self._end_warmup()
        while True:
            used_s, all_s, block = self._feed(rows, length)
            self._clock = monotonic() - used_s, all_s
            if block is None:
                return
            self._batches += 1
            batch = mx.array(block.astype(np.int32))
            yield batch[:, :-1], batch[:, 1:]

    def log(self, step: int, loss: mx.array) -> None:
        """Wait for `loss`, the previous step's, and report it.

        Raises Diverged when it has exploded, and Failed where step or loss is not one number.
        """
        step, value = whole_number("step", step), number("loss", loss)
        step = min(step, self._batches - 1)
        self._steps = step + 1
        limit = EXPLODED * math.log(self.task.vocab_size)
        if not value < limit:
            raise Diverged(f"the loss diverged: {value:.4g} nats a token at step {step} (limit {limit:.1f})")
        now = monotonic()
        if self._batches and (now - self._last_event >= min(0.25, self.task.budget_s / 64) or step < 2):
            self._last_event = now
            self._emit("step", step=step, loss=value)

    def _end_warmup(self) -> None:
        warmup_step_s = work_clock() - self._last_warmup
        check_logits(self._model(fixed_tokens(self.task, 0)), (1, self.task.seq_len, self.task.vocab_size))
        if parameter_hash(self._model) != self._fingerprint:
            raise Failed("warmup", "the parameters changed before the clock started: warm-up steps must be undone")
        gc.collect()
        gc.freeze()  # a collection among the tape's objects stalls a step
        self._emit("warmed_up", peak_memory_mb=mx.get_peak_memory() / 2**20, warmup_step_s=warmup_step_s)


def number(name: str, value: Any) -> float:
    """Return what a candidate passes to run.log as a float: a number of Python or NumPy, or an array of one element.

    Raises Failed("interface") for anything else.
    """
    try:
        value = value.item() if isinstance(value, mx.array | np.ndarray | np.generic) else value
        if isinstance(value, int | float):
            return float(value)
    except (ValueError, OverflowError):  # more than one element; an integer that no float can hold
        pass
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, mx.array | np.ndarray) else ""
    raise Failed("interface", f"run.log(step, loss): {name} must be one number, found {type(value).__name__}{shape}")


def whole_number(name: str, value: Any) -> int:
    """Return what `number` returns as an int >= 0. Raises Failed("interface") for what is none."""
    found = number(name, value)
    if not (found >= 0 and found.is_integer()):
        raise Failed("interface", f"run.log(step, loss): {name} must be a whole number from 0, found {found:g}")
    return int(found)


def work_clock() -> float:
    """Return seconds without those spent waiting for a compiler: on a CPU MLX has new kernels built by g++."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return monotonic() - children.ru_utime - children.ru_stime


def main(build_model: Callable[..., Any], train: Callable[..., Any]) -> int:
    """Run `uv run train_mlx.py`: train and evaluate the calling file in children, and print the summary block."""
    from autoresearch.tasks.gpt.by_hand import run_by_hand

    return run_by_hand(Path(build_model.__code__.co_filename), Path(__file__))


# --- the task and its data -------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """Return the folder of prepared data that the loop names in the child's AUTORESEARCH_* variables."""
    names = ("AUTORESEARCH_CACHE", "AUTORESEARCH_DATASET", "AUTORESEARCH_PROFILE")
    cache, dataset, profile = (os.environ[name] for name in names)
    return Path(cache) / "data" / dataset / profile


def task() -> Task:
    """Read the task from the prepared data's meta.json; AUTORESEARCH_TIME_BUDGET_S overrides its budget."""
    meta = json.loads((data_folder() / "meta.json").read_text())
    budget_s = float(os.environ.get("AUTORESEARCH_TIME_BUDGET_S") or meta["budget_s"])
    return Task(**{k: meta[k] for k in Task.__dataclass_fields__ if k != "budget_s"}, budget_s=budget_s)


def load_rows(file: Any, seq_len: int) -> np.ndarray:
    """Map the packed rows in a file (a path, or an open file) into memory: (rows, seq_len + 1) uint16."""
    return np.memmap(file, dtype="<u2", mode="r").reshape(-1, seq_len + 1)


def receive_rows(seq_len: int) -> np.ndarray:
    """Map the rows that the loop passes as standard input, and close that: a candidate finds no path to them."""
    rows = load_rows(sys.stdin.buffer, seq_len)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    return rows


def fixed_tokens(task: Task, seed: int) -> mx.array:
    """Draw one row of random tokens, the same in every child: (1, seq_len) int32."""
    row = np.random.default_rng([seed, 3]).integers(0, task.vocab_size, (1, task.seq_len), dtype=np.int32)
    return mx.array(row)


# --- the metric ------------------------------------------------------------------------------------------------------


def evaluate_bpb(nats: np.ndarray, targets: np.ndarray, token_bytes: np.ndarray) -> tuple[float, float, int]:
    """Compute val_bpb = sum of nats / (ln 2 * sum of the targets' UTF-8 bytes); return (val_bpb, nats, bytes).

    `nats` (N, T) are those of each target (N, T). Special tokens, which have 0 bytes, count in neither sum.
    """
    length = token_bytes[targets]  # (N, T)
    total, size = float(nats[length > 0].sum(dtype=np.float64)), int(length.sum())
    return total / (math.log(2) * size), total, size


def check_logits(logits: Any, shape: tuple[int, ...]) -> None:
    """Raise Failed unless these are finite logits of this shape."""
    check_logits_type(logits, shape)
    if not mx.isfinite(logits).all().item():
        raise Failed("nonfinite", "the model returns logits that are not finite")


def check_logits_type(logits: Any, shape: tuple[int, ...]) -> None:
    """Raise Failed unless these are logits of this shape; compute nothing."""
    if not isinstance(logits, mx.array) or logits.shape != shape:
        found = logits.shape if isinstance(logits, mx.array) else type(logits).__name__
        raise Failed("interface", f"model(idx) must return logits of shape {shape}, found {found}")
    if not mx.issubdtype(logits.dtype, mx.floating):
        raise Failed("interface", f"logits must be of a float type, found {logits.dtype}")


class Failed(Exception):
    """Raised for a failure that the harness found; `kind` is one of those listed in autoresearch/failures.py."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def raise_what_failed() -> None:
    """Raise RuntimeError where a GPU's work failed, with Metal's reason.

    MLX may return from an evaluation though a part of its work was refused memory or ended by the watchdog, and leaves
    zeros (ml-explore/mlx#3979). A wait for the whole stream raises the error.
    """
    mx.synchronize()


def parameter_hash(model: nn.Module) -> str:
    return array_hash(dict(tree_flatten(model.parameters())))


def array_hash(arrays: Mapping[str, mx.array]) -> str:
    """Hash arrays with their names, shapes and types, as autoresearch/measure/checkpoint.py does from a file."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.shape} {value.dtype}".encode())
        digest.update(np.array(value.reshape(-1).view(mx.uint8)))
    return digest.hexdigest()


def matmul_tflops(dtype: mx.Dtype = mx.float32, seconds: float = 0.2) -> float:
    """Measure this machine's present speed in TFLOP/s, by square matrix products for a fixed time.

    On a GPU the squares grow until one product takes PRODUCT_S, since smaller ones do not fill a large chip.
    """
    if mx.default_device() != mx.gpu:
        return _products(1024, dtype, streams(), seconds)
    size = 2048
    places = streams() * 4  # several at once hide a GPU's start-up
    while size < 16384 and 2 * (2 * size) ** 3 / 1e12 < PRODUCT_S * _products(size, dtype, places, 0.0):
        size *= 2
    return _products(size, dtype, places, seconds)


def _products(size: int, dtype: mx.Dtype, places: Sequence[mx.Stream], seconds: float) -> float:
    """Return the TFLOP/s of products of squares, one at each place at a time; with 0 seconds, of one round."""
    a = mx.random.normal((size, size), key=mx.random.key(0)).astype(dtype)
    mx.eval(a @ a)
    start, count = monotonic(), 0
    while count == 0 or monotonic() - start < seconds:
        mx.eval([mx.matmul(a, a, stream=place) for place in places])
        count += len(places)
    return 2 * size**3 * count / (monotonic() - start) / 1e12


# --- the children ----------------------------------------------------------------------------------------------------


def children() -> types.ModuleType:
    """Load children.py. In a child `import prepare` then finds this module."""
    sys.modules["prepare"] = sys.modules["__main__"]
    return beside("children")


if __name__ == "__main__":
    if sys.argv[1:2] in (["preflight"], ["train"], ["model"], ["judge"], ["sample"]):
        status = children().main(sys.argv[1:])
        sys.stdout.flush()
        os._exit(status)  # without running a candidate's exit handlers or waiting for its threads
    from autoresearch.tasks.gpt.data.corpus import command_line

    raise SystemExit(command_line(sys.argv[1:]))
