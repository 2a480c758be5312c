"""Measure the trainer: the cost of a step and of its parts, how it grows, the warm-up's forecast, the data.

step, breakdown and scaling time train_mlx.py on random tokens in this process; warmup runs the loop's own train child;
batches reads prepared data.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlx.core as mx
import mlx.nn as nn
import numpy as np

import prepare
from autoresearch.candidate.constants import assign
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.gpt.data import corpus, prepared, tokenizer
from autoresearch.tasks.gpt.data.packing import pack_rows
from autoresearch.tasks.gpt.data.profiles import PROFILES, TINY, Profile, default_profile
from autoresearch.tasks.gpt.workbench import harness as harness_files
from benchmarks.texts import quick_data
from benchmarks.timing import (
    ENVIRONMENT,
    TINY_CONSTANTS,
    arguments,
    measure,
    primitives,
    random_batch,
    report,
    toy_task,
    trainer,
    training_step,
)
from testbed.feeding import fed
from testbed.toy import ROOT

# --- step: tokens a second, memory, operations ------------------------------------------------------------------------

TOKENS = 4096  # a step
SMALL = {"DEPTH": 2, "TOTAL_BATCH_SIZE": 1024, "DEVICE_BATCH_SIZE": 4}  # for --quick
CASES = [  # depth, channels, context
    (4, 128, 256),
    (2, 128, 256),
    (8, 128, 256),
    (4, 256, 256),
    (4, 128, 1024),
]


def step(argv: Sequence[str]) -> int:
    """Measure tokens a second, memory, operations and MFU of a step, by depth, width, context and type.

    Operations are nodes of the graph before and after `mx.compile`, with Newton-Schulz over single and over stacked
    matrices. MFU is relative to a float32 product of 1024 x 1024, which is measured first.
    """
    args = arguments("trainer step", step.__doc__).parse_args(argv)
    types = ["float32"] if mx.default_device() == mx.cpu else ["bfloat16", "float32"]
    cases, repeats = (CASES[1:2], 2) if args.quick else (CASES, 10)
    return report([step_row(*case, dtype, repeats) for case in cases for dtype in types], args)


def step_row(depth: int, channels: int, T: int, dtype: str, repeats: int) -> dict[str, Any]:
    constants = {**TINY_CONSTANTS, "DEPTH": depth, "ASPECT_RATIO": channels // depth, "COMPUTE_DTYPE": dtype}
    train_mlx, task = trainer(**constants), toy_task(seq_len=T)
    found = measure({"step": lambda: training_step(train_mlx, task)}, repeats)["step"]
    model = train_mlx.build_model(task)
    flops = model.flops_per_token()
    return {
        "depth": depth,
        "C": channels,
        "T": T,
        "type": str(model.config.dtype).removeprefix("mlx.core."),
        "tok_s": TOKENS / found["s"],
        "peak_mib": found["peak_mib"],
        "mfu_percent": 100 * flops * TOKENS / found["s"] / (prepare.matmul_tflops() * 1e12),
        **operations(constants, task),
    }


def operations(constants: Mapping[str, Any], task: prepare.Task) -> dict[str, int]:
    """Count a step's operations as a GPU would start them: uncompiled or compiled, single matrices or stacked.

    The logits are split as on a GPU and there is one stream, since attention in blocks is the CPU's own. No graph is
    evaluated.
    """
    found, streams = {}, prepare.streams()
    with patch.multiple(prepare.ops, CPU_LOGITS=prepare.ops.GPU_LOGITS, streams=lambda: streams[:1]):
        for name, switch, stack in (
            ("ops_plain", mx.disable_compile, False),
            ("ops_compiled", mx.enable_compile, False),
            ("ops_stacked", mx.enable_compile, True),
        ):
            switch()
            found[name] = primitives(training_step(trainer(**{**constants, "STACK_MATRICES": stack}), task)())
    (mx.disable_compile if os.environ.get("MLX_DISABLE_COMPILE") else mx.enable_compile)()
    return found


# --- scaling: the cost against size -----------------------------------------------------------------------------------

START = {"depth": 4, "C": 128, "T": 256, "V": 1024, "rows": 8}
SWEEPS = {"depth": (2, 8), "C": (64, 256), "T": (128, 512, 1024), "V": (512, 4096), "rows": (4, 16)}


def scaling(argv: Sequence[str]) -> int:
    """Measure seconds and memory of a step as depth, width, context, vocabulary and rows change one at a time.

    Ratios are relative to the first row, the tiny profile's model.
    """
    args = arguments("trainer scaling", scaling.__doc__).parse_args(argv)
    start = {**START, "depth": 2, "rows": 2} if args.quick else START
    sweeps = {"T": (128,), "V": (512,)} if args.quick else SWEEPS
    cases = [start, *({**start, name: value} for name, values in sweeps.items() for value in values)]
    makers = {str(i): sized(**case) for i, case in enumerate(cases)}
    found = list(measure(makers, 2 if args.quick else 7).values())
    rows = [
        {
            **case,
            "s": f["s"],
            "peak_mib": f["peak_mib"],
            "tok_s": case["rows"] * case["T"] / f["s"],
            "s_ratio": f["s"] / found[0]["s"],
            "memory_ratio": f["peak_mib"] / found[0]["peak_mib"],
        }
        for case, f in zip(cases, found, strict=True)
    ]
    return report(rows, args)


def sized(depth: int, C: int, T: int, V: int, rows: int) -> Callable[[], Callable[[], Any]]:
    """Return a maker of training steps of this size."""
    constants = {"DEPTH": depth, "ASPECT_RATIO": C // depth, "TOTAL_BATCH_SIZE": rows * T, "DEVICE_BATCH_SIZE": rows}
    train_mlx = trainer(**{**TINY_CONSTANTS, **constants})
    return lambda: training_step(train_mlx, toy_task(seq_len=T, vocab_size=V))


# --- breakdown: the parts of a step -----------------------------------------------------------------------------------


def breakdown(argv: Sequence[str]) -> int:
    """Measure a step's parts: data, forward, backward, optimizer, harness; and the evaluation.

    Each part is timed alone on the tiny profile's model and the harness's own code, as a share of a step's seconds.
    """
    args = arguments("trainer breakdown", breakdown.__doc__).parse_args(argv)
    repeats = 1 if args.quick else 15
    task = toy_task(eval_rows=4) if args.quick else toy_task()
    train_mlx = trainer(**{**TINY_CONSTANTS, **(SMALL if args.quick else {})})
    rows, micro_batches = train_mlx.batch_shape(task.seq_len)
    model = train_mlx.build_model(task)
    optimizer, batches = train_mlx.MuonAdamW(model), [random_batch(task, rows)] * micro_batches
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    gradients = loss_and_grad(*batches[0])[1]
    streams = prepare.even_streams(task.eval_rows)
    evaluation = [random_batch(task, task.eval_rows // streams)] * streams
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


STEPS_IN_A_ROW = 6  # for what lies between two steps


def least(call: Callable[[], Any], repeats: int) -> float:
    """Return the least seconds of a call that leaves nothing to evaluate."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def harness(task: prepare.Task, model: nn.Module, rows: int, repeats: int) -> tuple[float, float]:
    """Return the seconds a step that the harness's batch takes, and its clock and log: prepare.Run on random rows."""
    data = np.random.default_rng(0).integers(0, task.vocab_size, (4096, task.seq_len + 1)).astype("<u2")
    with fed(data) as (feed, _):
        run = prepare.Run(task, 0, model, feed, lambda *a, **k: None)
        batches, loss = run.batches(rows), mx.array(1.0)
        mx.eval(next(batches))
        data_s = least(lambda: mx.eval(next(batches)), repeats)
        return data_s, least(lambda: (run.progress, run.log(5, loss)), repeats)


def waiting(step: Callable[[], Any], state: Any, repeats: int) -> float:
    """Return the seconds a step that a loop loses by reading the loss of the step before, as train() does.

    That is a loop which reads, less one which queues all its steps.
    """

    def loop(reads: bool) -> None:
        losses: list[mx.array] = []
        for _ in range(STEPS_IN_A_ROW):
            losses.append(step())
            if reads and len(losses) > 1:
                losses[-2].item()
            mx.async_eval(losses[-1], state)
        mx.eval(losses[-1], state)

    found = [(least(lambda: loop(True), 1), least(lambda: loop(False), 1)) for _ in range(repeats)]
    reading, queueing = (min(seconds) for seconds in zip(*found, strict=True))
    return (reading - queueing) / STEPS_IN_A_ROW


def dealt(call: Callable[..., Any], batches: list[tuple[mx.array, mx.array]]) -> list[Any]:
    """Call on every batch, side by side on a CPU's cores, as a step and the evaluation do it."""
    return prepare.parallel(lambda batch: call(*batch), batches)


# --- warmup: the forecast ---------------------------------------------------------------------------------------------

FORECAST: tuple[dict[str, Any], ...] = (
    {},
    {"DEPTH": 8},
    {"ASPECT_RATIO": 64},
    {"DEVICE_BATCH_SIZE": 4},
    {"DEPTH": 2, "TOTAL_BATCH_SIZE": 1024},
)


def random_data(folder: Path, profile: Profile = TINY) -> Path:
    """Write random tokens in the layout of prepared data, as far as the train child reads it."""
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, profile.vocab_size - 4, (2000, profile.seq_len + 1)).astype("<u2")
    rows.tofile(folder / "train.u16")
    np.save(folder / "token_bytes.npy", np.ones(profile.vocab_size, dtype=np.int32))
    numbers = {
        name: getattr(profile, name) for name in ("seq_len", "vocab_size", "eval_tokens", "eval_rows", "budget_s")
    }
    task = {"dataset": "random", "profile": "tiny", "fingerprint": "0" * 16, "bos_id": profile.vocab_size - 4}
    layout = {"version": prepared.VERSION, "splits": {}}
    (folder / "meta.json").write_text(json.dumps({**task, **numbers, **layout}))
    return folder


def forecast_row(bench: Workbench, folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Train a candidate briefly. Raises RuntimeError when it fails."""
    source = (ROOT / "train_mlx.py").read_text()
    for name, value in {**TINY_CONSTANTS, **changes}.items():
        source = assign(source, name, repr(value))
    path = folder / "train_mlx.py"
    path.write_text(source)
    said: dict[str, Mapping[str, Any]] = {}
    m = experiment.rehearse(bench, path, folder / "run", 0, lambda event: said.update({event["event"]: event}))
    if m.failure is not None or not m.num_steps or m.training_s is None or m.peak_memory_mb is None:
        raise RuntimeError(f"{dict(changes)} did not train: {m.failure}")
    promised, step_s = said["warmed_up"], m.training_s / m.num_steps
    return {
        "candidate": ", ".join(f"{name} = {value}" for name, value in changes.items()) or "baseline",
        "steps": m.num_steps,
        "warmup_step_s": promised["warmup_step_s"],
        "step_s": step_s,
        "step_ratio": promised["warmup_step_s"] / step_s,
        "warmup_peak_mb": promised["peak_memory_mb"],
        "peak_mb": m.peak_memory_mb,
        "peak_ratio": promised["peak_memory_mb"] / m.peak_memory_mb,
    }


def warmup(argv: Sequence[str]) -> int:
    """Compare the step time and peak memory that the warm-up forecasts with the run's.

    The loop's train child trains briefly on random tokens, with candidates that differ in depth, width, rows at once
    and accumulation. The loop ends a candidate on the warm-up's word, so the ratios have to be near one.
    """
    args = arguments("trainer warmup", warmup.__doc__).parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        data = random_data(Path(name) / "data" / "random" / "tiny")
        budget_s, cases = (2.0, FORECAST[-1:]) if args.quick else (10.0, FORECAST)
        bench = Workbench(harness_files(ROOT), DataFolder(data), budget_s, Unconfined(), env=ENVIRONMENT, min_steps=0)
        return report([forecast_row(bench, Path(name), changes) for changes in cases], args)


# --- batches: the data ------------------------------------------------------------------------------------------------

STEP_MS = 100.0  # a training step to compare with
BATCHES = 100
TEXTS = 3000  # documents to tokenize again and again


def mapped(data: np.ndarray, count: int) -> Callable[[], np.ndarray]:
    """Return a call that gives random rows of the memory-mapped array as int32, as training reads them."""
    order = iter(chain.from_iterable(map(np.random.default_rng(0).permutation, repeat(len(data)))))
    return lambda: data[np.fromiter(islice(order, count), dtype=np.int64)].astype(np.int32)


def packed(rows: Iterator[np.ndarray], count: int) -> Callable[[], np.ndarray]:
    """Return a call that packs its rows anew each time."""
    return lambda: np.stack(list(islice(rows, count))).astype(np.int32)


def texts(data: np.ndarray, tokens: tokenizer.Tokenizer) -> list[str]:
    """Return documents of about the training data's lengths, decoded from its rows."""
    ids = data[:TEXTS].reshape(-1)
    bounds = np.flatnonzero(ids == tokens.bos_id)
    return [tokens.encoding.decode(part[1:].tolist()) for part in np.split(ids, bounds) if len(part) > 1]


def milliseconds(batch: Callable[[], np.ndarray]) -> np.ndarray:
    """Time BATCHES calls."""
    batch()  # the first fills buffers
    took = []
    for _ in range(BATCHES):
        start = time.perf_counter()
        batch()
        took.append(1000 * (time.perf_counter() - start))
    return np.array(took)


def batches(argv: Sequence[str]) -> int:
    """Measure milliseconds of a batch: read from the memory-mapped array, packed on the fly, tokenized too.

    The share is what a training step of 100 ms would lose to it. Prepares the data set when it is missing.
    """
    options = arguments("trainer batches", batches.__doc__)
    options.add_argument("--dataset", default="stdlib")
    options.add_argument("--profile", default=default_profile(), choices=PROFILES)
    options.add_argument("--tokens", type=int, default=16384, help="tokens a batch (default: 16384)")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = quick_data(Path(name)) if args.quick else corpus.prepare(args.dataset, args.profile)
        return report(batch_rows(folder, args.tokens), args)


def batch_rows(folder: Path, tokens_a_batch: int) -> list[dict[str, Any]]:
    meta = prepared.load_meta(folder)
    tokens, length = tokenizer.load(folder / "tokenizer.json"), meta.seq_len + 1
    data = np.memmap(folder / "train.u16", dtype="<u2", mode="r").reshape(-1, length)
    count = max(1, tokens_a_batch // meta.seq_len)
    documents = texts(data, tokens)
    encoded = list(tokens.encode(documents))
    ways = {
        "memory-mapped rows": mapped(data, count),
        "packing tokens on the fly": packed(pack_rows(chain.from_iterable(repeat(encoded)), length), count),
        "tokenizing and packing": packed(
            pack_rows(tokens.encode(chain.from_iterable(repeat(documents))), length), count
        ),
    }
    rows = []
    for name, batch in ways.items():
        took = milliseconds(batch)
        rows.append(
            {
                "a batch": name,
                "rows": count,
                "median_ms": float(np.median(took)),
                "slowest_ms": float(took.max()),
                "mean_ms": float(took.mean()),
                "percent_of_a_step": float(100 * took.mean() / (STEP_MS + took.mean())),
            }
        )
    return rows
