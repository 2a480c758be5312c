"""Measure the probes of an evaluation: what they find, whom they accuse wrongly, and what judging apart costs.

Cuts, copies, cross-entropies and comparisons are the judge's own code. power and honest call it in this process; cost
times whole evaluations in their three confined processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
from mlx.utils import tree_flatten

import prepare
from autoresearch.candidate.constants import assign
from autoresearch.measure import experiment
from autoresearch.measure.scoring import SHARED_BYTES, Scoring, score
from autoresearch.measure.workbench import PROBE_NATS, RunSpec, Workbench
from autoresearch.paths import DataFolder
from autoresearch.system.connection import End, connection
from autoresearch.tasks.gpt.data.profiles import MAC, TINY, Profile
from autoresearch.tasks.gpt.judge import cross_entropies, scores
from autoresearch.tasks.gpt.model_child import forward, plain
from autoresearch.tasks.gpt.probes import Copier, cuts_needed
from autoresearch.tasks.gpt.wire import HELLO, JudgesEnd, ModelsEnd, Sizes
from autoresearch.tasks.gpt.workbench import harness as harness_files
from benchmarks.cli import Row
from benchmarks.timing import ENVIRONMENT, TINY_CONSTANTS, arguments, report, toy_task, trainer
from benchmarks.trainer.steps import random_data
from testbed.hostile.bench import sandbox_here
from testbed.judging import Model, largest_change, replaying
from testbed.toy import ROOT

# --- power: what is found ---------------------------------------------------------------------------------------------

CHANNELS = 8  # of the model: an embedding and a head, whose distribution the rows are drawn from
UNIQUE_ROWS = 32  # rows that are drawn; the evaluation repeats them
LIKELY = 0.02  # probability from which a gate that opens for natural futures takes a token for one
TOKEN_BYTES = {"tiny": 3, "mac": 4}


@dataclass(frozen=True)
class Leak:
    """A look at the next token, which adds `nats` to its logit at a share of the positions.

    The gate depends on the position and the token there; `natural` leaks only if the next token is likely, and `far`
    makes the gate depend on the token three places later.
    """

    nats: float
    share: float = 1.0
    natural: bool = False
    far: bool = False

    def __str__(self) -> str:
        kind = "where the future is natural" if self.natural else "gate three ahead" if self.far else "one ahead"
        return f"{kind}, +{self.nats:g}"


LEAKS = (
    *(Leak(nats) for nats in (0.001, 0.003, 0.014, 0.1, 1.0)),
    *(Leak(1.0, share) for share in (0.5, 0.1, 0.05, 0.03, 0.02, 0.01)),
    *(Leak(0.1, 0.2), Leak(0.1, 0.5), Leak(1.0, 0.2, natural=True), Leak(1.0, 0.03, far=True), Leak(8.0, 0.003)),
)


class ProbeTask:
    """A task in one profile's shape: rows of a bigram process, and the model that knows that process."""

    def __init__(self, profile: Profile, rng: np.random.Generator) -> None:
        self.profile, self.rng = profile, rng
        V, T = profile.vocab_size, profile.seq_len
        self.embedding = rng.normal(size=(V, CHANNELS)).astype(np.float32)
        self.head = (1.5 * rng.normal(size=(CHANNELS, V))).astype(np.float32)
        unique, training = self._draw(UNIQUE_ROWS, T + 1), self._draw(UNIQUE_ROWS, T + 1)
        self.rows = np.tile(unique, (profile.eval_tokens // T // UNIQUE_ROWS, 1))
        self.copier = Copier(rng, self.rows[:, :-1], training, profile.eval_rows, V)
        targets = self.rows[:, 1:].size
        self.count = cuts_needed(targets, TOKEN_BYTES[profile.name] * targets)

    def _draw(self, size: int, length: int) -> np.ndarray:
        """Draw rows from the bigram process by the Gumbel trick."""
        rows = np.zeros((size, length), np.int32)
        rows[:, 0] = self.rng.integers(0, self.profile.vocab_size, size)
        for t in range(1, length):
            noise = self.rng.gumbel(size=(size, self.profile.vocab_size)).astype(np.float32)
            rows[:, t] = (self.base(rows[:, t - 1]) + noise).argmax(axis=1)
        return rows

    def base(self, tokens: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.embedding[tokens] @ self.head
        return logits

    def opens(self, leak: Leak, rows: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return at which positions `where` (n,) of its row (n, T) a leak is open: (n,) bool."""
        n = np.arange(len(where))
        ahead = rows[n, np.minimum(where + 1, rows.shape[1] - 1)]
        seen = rows[n, np.minimum(where + 3, rows.shape[1] - 1) if leak.far else where].astype(np.int64)
        found: np.ndarray = (seen * 7919 + where * 104729) % 10007 < leak.share * 10007
        if leak.natural and found.any():
            at = np.flatnonzero(found)
            found[at] = np.exp(-cross_entropies(self.base(rows[at, where[at]]), ahead[at])) >= LIKELY
        return found

    def nats(self, leak: Leak | None, rows: np.ndarray, where: np.ndarray, y: np.ndarray, bits: bool) -> np.ndarray:
        """Return the nats of targets `y` (n,) at one position of each row (n, T): (n,) float32."""
        n = np.arange(len(where))
        logits = self.base(rows[n, where])
        if leak is not None:
            opened = self.opens(leak, rows, where)
            logits[n, rows[n, np.minimum(where + 1, rows.shape[1] - 1)]] += leak.nats * opened
        return cross_entropies(as_bfloat16(logits) if bits else logits, y)

    def worth_score(self, leak: Leak) -> float:
        """Return what a leak gains, in bits per byte, at 20,000 random positions."""
        at = self.rng.integers(0, len(self.rows), 20_000)
        where = self.rng.integers(0, self.profile.seq_len - 1, len(at))
        rows, y = self.rows[at], self.rows[at, where + 1]
        opened = np.flatnonzero(self.opens(leak, rows, where))
        given = (rows[opened], where[opened], y[opened], False)
        gain = float((self.nats(None, *given) - self.nats(leak, *given)).sum()) if len(opened) else 0.0
        return gain / len(at) / (np.log(2) * TOKEN_BYTES[self.profile.name])

    def found(self, cases: Sequence[tuple[Leak, bool]]) -> set[tuple[Leak, bool]]:
        """Probe once and return those of the cases (a leak, and whether logits are bfloat16) that are found."""
        left, found = list(cases), set()
        for copies in self.copier.batches(self.count):
            for case in left:
                if self.moved(*case, copies.rows, copies.cuts, copies.tokens) > PROBE_NATS[1]:
                    found.add(case)
            left = [case for case in left if case not in found]
        return found

    def moved(self, leak: Leak, bits: bool, rows: np.ndarray, cuts: np.ndarray, tokens: np.ndarray) -> float:
        """Return how far a target's nats move before the cuts, where a leak is open in the row or its copy."""
        largest = 0.0
        for back in (1, 2, 3) if leak.far else (1,):
            where = np.maximum(cuts - back, 0)
            true = self.rows[rows, :-1]
            opened = np.flatnonzero(self.opens(leak, true, where) | self.opens(leak, tokens, where))
            if len(opened):
                given = where[opened], self.rows[rows, where + 1][opened], bits
                change = self.nats(leak, tokens[opened], *given) - self.nats(leak, true[opened], *given)
                largest = max(largest, float(np.abs(change).max()))
        return largest


def as_bfloat16(logits: np.ndarray) -> np.ndarray:
    """Return float32 numbers rounded to bfloat16, as bits."""
    bits = logits.view(np.uint32)
    rounded: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def power(argv: Sequence[str]) -> int:
    """Count how often planted leaks of known size are found in one evaluation, by profile and type of the logits.

    Each evaluation draws as many cuts as the judge does. Only a position that sees a replaced token can change, so
    only those are computed. The last row is a model that replays: it answers a row with a known beginning as before.
    """
    args = arguments("trust power", power.__doc__).parse_args(argv)
    trials, rows = (3, LEAKS[3:5]) if args.quick else (2000, LEAKS)
    profiles = [TINY] if args.quick else [TINY, MAC]
    table: dict[Leak, dict[str, Any]] = {leak: {"leak": str(leak)} for leak in rows}
    for profile in profiles:
        scene = ProbeTask(profile, np.random.default_rng(1))
        cases = [(leak, bits) for leak in rows for bits in (False, True)]
        counts = dict.fromkeys(cases, 0)
        for _ in range(trials):
            for case in scene.found(cases):
                counts[case] += 1
        for leak in rows:
            table[leak] |= {"open": f"{100 * leak.share:g}%", f"{profile.name} bpb": scene.worth_score(leak)}
            for bits, name in ((False, "float32"), (True, "bfloat16")):
                table[leak][f"{profile.name} {name}"] = f"{100 * counts[leak, bits] / trials:g}%"
        table[rows[0]] |= {f"{profile.name} cuts": scene.count}
    replayed = sum(replay_found(seed) for seed in range(3 if args.quick else 200))
    last = {"leak": "replays, on rows of 12 tokens", "tiny float32": f"{replayed} of {3 if args.quick else 200}"}
    return report([*table.values(), last], args)


def replay_found(seed: int) -> bool:
    """Return whether a whole evaluation of a model that replays fails."""
    rng = np.random.default_rng(seed)
    table = mx.array(rng.normal(size=(16, 16)).astype(np.float32))
    rows, training = (rng.integers(0, 16, (n, 13), dtype=np.int32) for n in (12, 30))
    try:
        largest_change(lambda: replaying(lambda x: table[x], 16), rows, training, Sizes(4, 12, 16), 100, rng)
    except prepare.Failed:
        return True
    return False


# --- honest: whom it accuses ------------------------------------------------------------------------------------------

SMALL = {"DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 16}
SHAPE = Sizes(4, 64, 128)


class Mixer(nn.Module):
    """A causal model without attention: it mixes tokens by `mix` (B, T, C) -> (B, T, C)."""

    def __init__(self, mix: Callable[[mx.array], mx.array]) -> None:
        super().__init__()
        self.wte, self.head = nn.Embedding(SHAPE.vocab, 32), nn.Linear(32, SHAPE.vocab)
        self.mix = mix

    def __call__(self, x: mx.array) -> mx.array:
        logits: mx.array = self.head(self.mix(self.wte(x)))
        return logits


def convolved(x: mx.array) -> mx.array:
    """Convolve with a decaying kernel by the discrete Fourier transform, whose rounding sees every position."""
    T = x.shape[1]
    kernel = mx.exp(-mx.arange(T) / 5.0)
    product = mx.fft.rfft(x, 2 * T, axis=1) * mx.fft.rfft(kernel, 2 * T)[None, :, None]
    return mx.fft.irfft(product, 2 * T, axis=1)[:, :T]


def averaged(x: mx.array) -> mx.array:
    return mx.cumsum(x, axis=1) / mx.arange(1, x.shape[1] + 1)[:, None]


def depthwise(x: mx.array) -> mx.array:
    weight = mx.ones((x.shape[2], 5, 1)) / 5
    return mx.conv1d(mx.pad(x, [(0, 0), (4, 0), (0, 0)]), weight, groups=x.shape[2])


def trained(**constants: Any) -> nn.Module:
    task = toy_task(SHAPE.length, SHAPE.vocab, SHAPE.rows)
    model: nn.Module = trainer(**{**TINY_CONSTANTS, **SMALL, **constants}).build_model(task)
    return model


HONEST: dict[str, Callable[[], nn.Module]] = {
    "train_mlx.py": trained,
    "windows": partial(trained, WINDOW_PATTERN="SL"),
    "attention in blocks": partial(trained, WINDOW_PATTERN="SSL", QUERY_BLOCK=16),
    "bfloat16": partial(trained, COMPUTE_DTYPE="bfloat16"),
    "float16 logits": lambda: Mixer(lambda x: averaged(x).astype(mx.float16)),
    "prefix means": lambda: Mixer(averaged),
    "depthwise convolution": lambda: Mixer(depthwise),
    "convolution by FFT": lambda: Mixer(convolved),
}


def honest(argv: Sequence[str]) -> int:
    """Count false alarms: honest models with random weights, each in many whole evaluations with new weights and rows.

    Rows of 64 tokens in batches of 4, at the smallest tolerance that a night can have. Printed is the largest change of
    any target's loss. The last row is train_mlx.py in the tiny profile's own shape.
    """
    args = arguments("trust honest", honest.__doc__).parse_args(argv)
    kinds = dict(list(HONEST.items())[-2:]) if args.quick else HONEST
    each = 2 if args.quick else 125
    rows = [honest_row(name, make, SHAPE, each) for name, make in kinds.items()]
    if not args.quick:
        whole = Sizes(TINY.eval_rows, TINY.seq_len, TINY.vocab_size)
        make = partial(trainer(**TINY_CONSTANTS).build_model, toy_task())
        rows.append(honest_row("train_mlx.py, tiny", make, whole, 3))
    return report(rows, args)


def honest_row(name: str, make: Callable[[], nn.Module], sizes: Sizes, evaluations: int) -> Row:
    alarms, largest = 0, 0.0
    for seed in range(evaluations):
        rng = np.random.default_rng(seed)
        rows, training = (rng.integers(0, sizes.vocab, (n, sizes.length + 1), dtype=np.int32) for n in (64, 40))
        mx.random.seed(seed)
        model = spread(make())
        make_again = partial(evaluating, model, sizes.vocab)
        try:
            change = largest_change(make_again, rows[: 4 * sizes.rows], training, sizes, 32, rng, PROBE_NATS[0])
            largest = max(largest, change)
        except prepare.Failed as error:
            print(name, seed, error)
            alarms += 1
    return {"honest model": name, "evaluations": evaluations, "false alarms": alarms, "largest_nats": largest}


def evaluating(model: nn.Module, vocab_size: int) -> Model:
    """Return the model as the model's process runs it."""
    logits_of = forward(model, vocab_size)
    return lambda tokens: logits_of(np.array(tokens))


def spread(model: nn.Module) -> nn.Module:
    """Give zero and small weights random values, so that nothing in the model is idle, and switch it to evaluation."""
    changed = [
        (name, v + (0.2 * mx.random.normal(v.shape)).astype(v.dtype)) for name, v in tree_flatten(model.parameters())
    ]
    model.load_weights(changed)
    model.eval()
    return model


# --- cost: what judging apart takes -----------------------------------------------------------------------------------


def cost(argv: Sequence[str]) -> int:
    """Time whole evaluations of train_mlx.py in the tiny profile's shape, and the passing on of logits in the Mac's.

    A judge and a model's process score batches of 32 rows of 256 tokens, against one process that does both with
    NumPy's exponentials or with MLX's. All figures are medians of alternating repeats; the processor's seconds count on
    a machine that does other work as well. Passing on is timed with a model that costs nothing: its logits are there
    before they are asked for.
    """
    args = arguments("trust cost", cost.__doc__).parse_args(argv)
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
