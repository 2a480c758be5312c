"""Fit a candidate to this machine by short measured trials, without changing what it computes.

Rows at once, stacking and compute type decide how fast the same computation runs here; the total batch stays. The fit
is stored by machine, MLX, data and source, and the loop applies it as SET edits in a commit of its own. Depth and total
batch change what is learned: they are the night's first experiments.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from autoresearch.candidate import constants, edits
from autoresearch.files import write_atomic
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import EDITABLE
from autoresearch.records import Say, Set
from autoresearch.system import chips, machine
from autoresearch.tasks.gpt import roofline
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.roofline import Roofline

TRIAL_S = 3.0  # seconds of training in a trial, at most
MOST_S = 100.0  # no trial is begun after this long, beside the first, which compiles what every run needs
WORTH = 1.03  # a choice is taken when it is this much faster
KERNELS = 31  # that are compiled for a first step where none are kept
SLOW_COMPILE_S = 10.0  # in all; what is compiled sooner is not worth a line
MEMORY_SHARE = 0.6  # of the machine's memory that training may hold: the rest is the system's and the page cache's
ROWS = "DEVICE_BATCH_SIZE"
CHUNK, CHUNKS = "LOSS_CHUNK", (22, 26, 28, 40)  # powers of two in bytes; the last is all logits at once
MACHINE_FIT = (ROWS, CHUNK, "STACK_MATRICES", "COMPUTE_DTYPE")  # the constants that `axes` turns


@dataclass(frozen=True)
class SpeedTrial:
    """One short training. `tok_s` is None where it failed; `note` says why the value was taken or not."""

    name: str
    literal: str
    tok_s: float | None
    peak_memory_mb: float | None
    note: str = ""
    tflops: float | None = None  # the trainer's own arithmetic, in TFLOP/s

    def __str__(self) -> str:
        speed = f"{self.tok_s:12,.0f} tok/s" if self.tok_s else " " * 18
        memory = f"{self.peak_memory_mb / 1024:7.2f} GB" if self.peak_memory_mb else " " * 10
        return f"{self.name} = {self.literal:<12}{speed}{memory}  {self.note}".rstrip()


@dataclass(frozen=True)
class Fit:
    """The changes that make a source faster here, and the trials that say so.

    It is cut short where the time ended before every constant had been tried.
    """

    edits: tuple[Set, ...]
    trials: tuple[SpeedTrial, ...]
    cut_short: bool = False

    def fastest(self) -> SpeedTrial | None:
        return max((t for t in self.trials if t.tok_s), key=lambda t: t.tok_s or 0.0, default=None)


@dataclass(frozen=True)
class StoredFit:
    """A stored fit: the edits, and the text that says why."""

    edits: tuple[Set, ...]
    text: str


def measure(bench: Workbench, source: str, folder: Path, facts: machine.Facts, path: Path, say: Say) -> StoredFit:
    """Measure the roofline, then fit `source`; say both as they come and store them in the file `path`.

    Raises CommandError where MLX does not run.
    """
    best = roofline.measure(bench.env)
    say(best.table(facts))
    if warning := compiling(best):
        say(warning)
    fitted = fit(bench, source, folder, facts.training_memory_mb, best.device, say)
    say(found := efficiency(fitted, best, facts, source))
    text = "\n".join([best.table(facts), *(f"  {trial}" for trial in fitted.trials), found])
    remember(path, source, bench, fitted, text)
    return StoredFit(fitted.edits, text)


def compiling(best: Roofline) -> str | None:
    """Say how long a first step compiles, where that is worth a line.

    -> "compiling a first step takes about 152 s, once: its kernels are kept"
    """
    seconds = KERNELS * (best.compile_s or 0.0)
    slow = best.device == "gpu" and seconds > SLOW_COMPILE_S
    return f"compiling a first step takes about {seconds:.0f} s, once: its kernels are kept" if slow else None


def efficiency(fitted: Fit, best: Roofline, facts: machine.Facts, source: str) -> str:
    """Compare the fastest trial's speed with the matrix product measured here, and with the chip's tabled peak.

    -> "fastest: 82,000 tok/s = 2.3 TFLOP/s, 28% of the float32 product measured here, 27% of the chip's tabled peak"
    """
    trial = fitted.fastest()
    if trial is None or not trial.tflops:
        return "no trial trained"
    wanted = constants.read(edits.apply(source, fitted.edits) if fitted.edits else source).get("COMPUTE_DTYPE")
    dtype = wanted if isinstance(wanted, str) and wanted in best.tflops else "float32"
    text = f"fastest: {trial.tok_s:,.0f} tok/s = {trial.tflops:.2g} TFLOP/s"
    text += f", {trial.tflops / best.tflops[dtype]:.0%} of the {dtype} product measured here"
    tabled = chips.peak_tflops(facts, dtype)
    return text + (f", {trial.tflops / tabled:.0%} of the chip's tabled peak" if tabled else "")


Train = Callable[[str, str, str], SpeedTrial]  # of a source, for the constant and the literal that it tries


def fit(
    bench: Workbench,
    source: str,
    folder: Path,
    memory_mb: int,
    device: str,
    say: Say = lambda text: None,
    trial_s: float | None = None,
) -> Fit:
    """Fit `source` by short runs in `folder`; a source without these constants needs none.

    A trial trains for `trial_s`: for TRIAL_S by default, or for the budget of a run where that is shorter.
    """
    trial_s = min(TRIAL_S, bench.budget_s) if trial_s is None else trial_s
    train = partial(_train, replace(bench, budget_s=trial_s, min_steps=0), folder, memory_mb)
    return walk(source, axes(source, bench, device), train, say)


def walk(
    source: str,
    constants_to_try: Iterable[SpeedAxis],
    train: Train,
    say: Say = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fit:
    """Try one constant after the other, each on top of the choices so far; keep what is clearly faster."""
    walker = _Walk(source, train, say, clock)
    for axis in constants_to_try:
        if walker.out_of_time():
            say(f"  {axis.name} stays: {MOST_S:g} s of trials are over")
            walker.cut_short = True
        else:
            walker.choose(axis)
    now = constants.literals(source)
    found = [Set(name, literal) for name, literal in walker.chosen.items() if now[name] != literal]
    return Fit(tuple(found), tuple(walker.trials), walker.cut_short)


class _Walk:
    """A fit under way: the trials so far, and the literal chosen for each constant that was tried."""

    def __init__(self, source: str, train: Train, say: Say, clock: Callable[[], float]) -> None:
        self.source, self.train, self.say, self.clock = source, train, say, clock
        self.began: float | None = None  # when the first trial was done
        self.chosen: dict[str, str] = {}
        self.trials: list[SpeedTrial] = []
        self.cut_short = False

    def out_of_time(self) -> bool:
        """Return whether no further trial is to be begun."""
        return self.began is not None and self.clock() - self.began > MOST_S

    def choose(self, axis: SpeedAxis) -> None:
        """Try the value that stands, then each direction until one has found something faster."""
        stands = best = self._try(axis.name, constants.literals(self.source)[axis.name])
        for direction in axis.directions:
            best = self._along(axis, direction, best)
            if best is not stands or not best.tok_s or self.cut_short:
                break
        self.chosen[axis.name] = best.literal

    def _along(self, axis: SpeedAxis, direction: Sequence[str], best: SpeedTrial) -> SpeedTrial:
        """Go along the values until the axis's patience is over, or one does not run though one before it did."""
        missed = 0
        for literal in direction:
            if self.out_of_time():
                self.say(f"  {axis.name} = {literal} is not tried: {MOST_S:g} s of trials are over")
                self.cut_short = True
                break
            trial = self._try(axis.name, literal, best)
            if trial.tok_s and trial.tok_s > WORTH * (best.tok_s or 0.0):
                best, missed = trial, 0
            elif best.tok_s:
                missed += 1 if trial.tok_s else axis.patience
            if missed >= axis.patience:
                break
        return best

    def _try(self, name: str, literal: str, best: SpeedTrial | None = None) -> SpeedTrial:
        now, wanted = constants.literals(self.source), {**self.chosen, name: literal}
        changes = [Set(k, v) for k, v in wanted.items() if now.get(k) != v]
        trial = self.train(edits.apply(self.source, changes) if changes else self.source, name, literal)
        if self.began is None:
            self.began = self.clock()
        trial = replace(trial, note=trial.note or _reason(trial, best))
        self.say(f"  {trial}")
        self.trials.append(trial)
        return trial


def _train(bench: Workbench, folder: Path, memory_mb: int, source: str, name: str, literal: str) -> SpeedTrial:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EDITABLE
    path.write_bytes(source.encode())
    m = experiment.rehearse(bench, path, folder / "run", seed=0)
    if m.failure is not None:
        return SpeedTrial(name, literal, None, m.peak_memory_mb, f"{m.failure.kind}: {m.failure.message[:80]}")
    if m.peak_memory_mb and m.peak_memory_mb > MEMORY_SHARE * memory_mb:
        note = f"more than {MEMORY_SHARE:.0%} of {memory_mb / 1024:.0f} GB"
        return SpeedTrial(name, literal, None, m.peak_memory_mb, note)
    tflops = m.mfu_percent / 100 * m.product_tflops if m.mfu_percent and m.product_tflops else None
    return SpeedTrial(name, literal, m.tok_s, m.peak_memory_mb, tflops=tflops)


@dataclass(frozen=True)
class SpeedAxis:
    """A constant that changes only the speed, and the values to try: directions from where it stands, nearest first."""

    name: str
    directions: tuple[tuple[str, ...], ...]
    patience: int = 1  # values in a row that are no faster end a direction; on a GPU runs differ by some 10%


def axes(source: str, bench: Workbench, device: str) -> Iterator[SpeedAxis]:
    """Yield the constants of `source` that may be fitted on `device`, "gpu" or "cpu".

    axes("DEVICE_BATCH_SIZE = 8\nTOTAL_BATCH_SIZE = 2**15\n", bench, "gpu") -> SpeedAxis("DEVICE_BATCH_SIZE",
    (("16",), ("4", "2", "1"))) where a row has 2048 tokens. Rows at once are doubled up to the whole batch.
    """
    now = constants.read(source)
    if device == "gpu" and isinstance(chunk := now.get(CHUNK), int):  # a CPU's chunks are the harness's
        larger = tuple(f"2**{k}" for k in CHUNKS if 2**k > chunk)
        smaller = tuple(f"2**{k}" for k in reversed(CHUNKS) if 2**k < chunk)
        # Before the rows: with small chunks more rows bring nothing.
        yield SpeedAxis(CHUNK, (larger, smaller), patience=2)
    if isinstance(rows := now.get(ROWS), int):
        tokens, pieces = now.get("TOTAL_BATCH_SIZE"), now.get("TRAIN_ROW_PIECES", 1)
        seq_len = prepared.load_meta(bench.data.folder).seq_len
        whole = tokens * pieces // seq_len if isinstance(tokens, int) else rows
        fewer = tuple(str(rows >> k) for k in (1, 2, 3) if rows >> k)
        more = tuple(str(rows << k) for k in range(1, 6) if rows << k <= whole)
        yield SpeedAxis(ROWS, (more, fewer), patience=2) if device == "gpu" else SpeedAxis(ROWS, (fewer, more))
    if isinstance(stacked := now.get("STACK_MATRICES"), bool):
        yield SpeedAxis("STACK_MATRICES", ((str(not stacked),),))
    if device == "gpu" and now.get("COMPUTE_DTYPE") in ("bfloat16", "float32"):  # a CPU computes in float32
        other = '"float32"' if now["COMPUTE_DTYPE"] == "bfloat16" else '"bfloat16"'
        yield SpeedAxis("COMPUTE_DTYPE", ((other,),))


def _reason(trial: SpeedTrial, best: SpeedTrial | None) -> str:
    """Explain a trial: "12% faster than 8: taken", "4% slower than 8", "as it stands"."""
    if best is None or not trial.tok_s:
        return "" if best else "as it stands"
    if not best.tok_s:
        return f"runs, unlike {best.literal}: taken"
    change = trial.tok_s / best.tok_s - 1
    text = f"{abs(change):.0%} {'faster' if change > 0 else 'slower'} than {best.literal}"
    return text + ("" if change <= 0 else ": taken" if 1 + change > WORTH else ": too little to change it")


# --- what is known already --------------------------------------------------------------------------------------------


def known(path: Path, source: str, bench: Workbench) -> StoredFit | None:
    """Return what was found earlier for this source and data on this machine, None where it was not fitted yet."""
    return _read(path).get(_key(source, bench))


def remember(path: Path, source: str, bench: Workbench, found: Fit, text: str) -> None:
    """Store what was found for `source`, and that the fitted source needs nothing more.

    A fit of which no trial trained is not stored, nor one that was cut short: the next start continues it, with the
    kernels that it has compiled.
    """
    if found.fastest() is None or found.cut_short:
        return
    fitted = edits.apply(source, found.edits) if found.edits else source
    stored = {**_read(path), _key(fitted, bench): StoredFit((), text)}
    stored[_key(source, bench)] = StoredFit(found.edits, text)
    write_atomic(path, to_json(stored, indent=1))


def _key(source: str, bench: Workbench) -> str:
    mlx, sha256 = version("mlx"), hashlib.sha256(source.encode()).hexdigest()[:16]
    return f"{bench.data.dataset}/{bench.data.profile} mlx-{mlx} {sha256}"


def _read(path: Path) -> dict[str, StoredFit]:
    try:
        return from_json(dict[str, StoredFit], path.read_bytes())
    except (OSError, MalformedError):
        return {}
