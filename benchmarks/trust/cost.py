"""Time whole evaluations of train_mlx.py in the tiny profile's shape, and the passing on of logits in the Mac's.

A judge and a model's process score batches of 32 rows of 256 tokens, against one process that does both with
NumPy's exponentials or with MLX's. All figures are medians of alternating repeats; the processor's seconds count on
a machine that does other work as well. Passing on is timed with a model that costs nothing: its logits are there
before they are asked for.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil

import prepare
from autoresearch.candidate.constants import assign
from autoresearch.measure import experiment
from autoresearch.measure.scoring import SHARED_BYTES, Scoring, score
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.paths import DataFolder
from autoresearch.system.connection import End, connection
from autoresearch.tasks.gpt.data.profiles import MAC, TINY
from autoresearch.tasks.gpt.judge import cross_entropies, scores
from autoresearch.tasks.gpt.model_child import forward, plain
from autoresearch.tasks.gpt.wire import HELLO, JudgesEnd, ModelsEnd, Sizes
from autoresearch.tasks.gpt.workbench import harness as harness_files
from benchmarks.cli import Row
from benchmarks.timing import ENVIRONMENT, TINY_CONSTANTS, arguments, report, toy_task, trainer
from benchmarks.trainer.steps import random_data
from benchmarks.trust.power import as_bfloat16
from testbed.hostile.bench import sandbox_here
from testbed.toy import ROOT


def main(argv: Sequence[str]) -> int:
    args = arguments("trust cost", __doc__).parse_args(argv)
    repeats, eval_rows = (1, 32) if args.quick else (3, 4 * TINY.eval_rows)
    with tempfile.TemporaryDirectory() as name:
        spec = trained_run(Path(name), eval_rows)
        rows = prepare.load_rows(spec.bench.data.rows("val"), TINY.seq_len).astype(np.int32)
        model = restored(spec)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(repeats):
            for what, *seconds in (*evaluated(spec, args.quick), *alone(model, rows)):
                found.setdefault(what, []).append((seconds[0], seconds[1]))
    medians = {what: np.median(seconds, axis=0).tolist() for what, seconds in found.items()}
    table: list[Row] = [{"part": what, "s": s, "cpu_s": cpu_s} for what, (s, cpu_s) in medians.items()]
    sizes = Sizes(2, 64, 512) if args.quick else Sizes(MAC.eval_rows, MAC.seq_len, MAC.vocab_size)
    return report([*table, *(passing_row(sizes, bits) for bits in (False, True))], args)


def trained_run(folder: Path, eval_rows: int) -> RunSpec:
    """Train briefly on random tokens and return the run, whose checkpoint can be scored again and again."""
    data = DataFolder(random_data(folder / "cache" / "data" / "random" / "tiny"))
    # So many bytes a token that six batches of probes are enough.
    np.save(data.token_bytes, np.full(TINY.vocab_size, 12, np.int32))
    data.rows("val").parent.mkdir()
    prepare.load_rows(data.train, TINY.seq_len)[:eval_rows].tofile(data.rows("val"))
    source = (ROOT / "train_mlx.py").read_text()
    for name, value in TINY_CONSTANTS.items():
        source = assign(source, name, repr(value))
    (folder / "train_mlx.py").write_text(source)
    bench = Workbench(harness_files(ROOT), data, 2.0, sandbox_here(), env=ENVIRONMENT, min_steps=0)
    m = experiment.rehearse(bench, folder / "train_mlx.py", folder / "run", 0)
    if m.failure is not None:
        raise RuntimeError(f"the trainer did not train: {m.failure}")
    return RunSpec.of(bench, folder / "train_mlx.py", folder / "run", 0)


def restored(spec: RunSpec) -> nn.Module:
    model: nn.Module = trainer(**TINY_CONSTANTS).build_model(toy_task())
    model.load_weights(str(spec.folder / "checkpoint.safetensors"))
    model.eval()
    return model


def evaluated(spec: RunSpec, quick: bool) -> Iterator[tuple[str, float, float]]:
    """Yield seconds, and those of the processor, of the parts of an evaluation."""
    heard: list[tuple[str, np.ndarray]] = []

    def hear(event: Any) -> None:
        heard.append((event["event"], np.array([time.monotonic(), cpu_of_children()])))

    start = np.array([time.monotonic(), 0.0])
    outcome = score(spec, Scoring("val", ceiling_score=0.0 if quick else None), hear)
    if outcome.failure is not None:
        raise RuntimeError(f"not scored: {outcome.failure}")
    first, scored = (next(when for name, when in heard if name == event) for event in ("ready", "scored"))
    yield "start of judge and model", *(first - start)
    yield "scoring in two processes, a batch", *a_batch(heard, "evaluated", first)
    yield "start of the second model's process, and a batch", *(next(w for n, w in heard if n == "probed") - scored)
    yield "probes, a batch", *a_batch(heard, "probed", scored)


def a_batch(heard: Sequence[tuple[str, np.ndarray]], event: str, before: np.ndarray) -> np.ndarray:
    """Return the seconds from one such event to the next, the last one left out: a process may have ended by then."""
    times = [when for name, when in heard if name == event]
    found: np.ndarray = (times[-2] - times[0]) / (len(times) - 2) if len(times) > 2 else times[0] - before
    return found


def cpu_of_children() -> float:
    """Return the processor's seconds of the processes that this one has started and that still run."""
    used = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def alone(model: nn.Module, rows: np.ndarray) -> Iterator[tuple[str, float, float]]:
    """Yield the seconds of one process that computes logits and scores them, with NumPy and with MLX."""
    blocks = [rows[start : start + TINY.eval_rows] for start in range(0, len(rows), TINY.eval_rows)]
    logits_of = forward(model, TINY.vocab_size)

    def with_numpy(block: np.ndarray) -> None:
        cross_entropies(plain(logits_of(block[:, :-1])), block[:, 1:].reshape(-1))

    def with_mlx(block: np.ndarray) -> None:
        x, y = mx.array(block[:, :-1]), mx.array(block[:, 1:])
        cores = prepare.even_streams(len(x))
        parts = zip(mx.split(x, cores), mx.split(y, cores), strict=True)
        mx.eval(prepare.parallel(lambda part: prepare.cross_entropy(model(part[0]), part[1], "none"), parts))

    for name, scored in (("NumPy", with_numpy), ("MLX", with_mlx)):
        scored(blocks[0])
        start, used = time.perf_counter(), time.process_time()
        for block in blocks:
            scored(block)
        seconds = time.perf_counter() - start, time.process_time() - used
        yield f"scoring in one process, {name}, a batch", seconds[0] / len(blocks), seconds[1] / len(blocks)


def passing_row(sizes: Sizes, bits: bool, batches: int = 4) -> Row:
    """Time logits that are passed on and scored against logits that are only scored."""
    tokens = np.zeros((sizes.rows, sizes.length), np.int32)
    logits = np.random.default_rng(0).normal(size=(tokens.size, sizes.vocab)).astype(np.float32)
    logits = as_bfloat16(logits) if bits else logits
    with connection(SHARED_BYTES) as (ours, theirs):
        child = multiprocessing.get_context("fork").Process(target=passes_on, args=(ours, theirs, sizes, logits))
        child.start()
        theirs.close()
        judge = JudgesEnd((ours.memory, ours.reads, ours.writes), sizes)
        judge.wait()
        start, used = time.perf_counter(), time.process_time()
        for _ in scores(judge, [(tokens, tokens)] * batches, ahead=2):
            pass
        passed_s, used = time.perf_counter() - start, time.process_time() - used
        passed_cpu_s = used + cpu_of_children()
        ours.close()
        child.join()
    start = time.process_time()
    for _ in range(batches):
        for first, positions in sizes.chunks(sizes.rows):
            cross_entropies(logits[first : first + positions], tokens.reshape(-1)[first : first + positions])
    alone_s = time.process_time() - start
    return {
        "batch": f"{sizes.rows} x {sizes.length} x {sizes.vocab}",
        "type": "bfloat16" if bits else "float32",
        "cpu_s": passed_cpu_s / batches,
        "only_scored_cpu_s": alone_s / batches,
        "gb_s": logits.nbytes * batches / passed_s / 1e9,
    }


def passes_on(theirs: End, mine: End, sizes: Sizes, logits: np.ndarray) -> None:
    """Answer every batch with the same logits, as a model's process does."""
    theirs.close()
    end = ModelsEnd((mine.memory, mine.reads, mine.writes), sizes)
    end.send(HELLO)
    try:
        while end.take(wait=True) is not None:
            end.answer(logits)
    finally:
        os._exit(0)
