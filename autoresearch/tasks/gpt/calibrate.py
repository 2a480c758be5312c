"""Fits a candidate to this machine without changing its mathematics, by short measured trials.

Rows at once, stacking and compute type decide how fast the same computation runs here; the total batch stays. What is
found is kept per machine, MLX, data and source, and applied as SET edits in a commit of its own. Depth and total batch
do change what is learned: they are the night's first experiments.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.files import write_atomic
from autoresearch.measure import experiment
from autoresearch.measure.experiment import Workbench
from autoresearch.records import Set
from autoresearch.system import chips, machine
from autoresearch.tasks.gpt import roofline
from autoresearch.tasks.gpt.data import corpus
from autoresearch.tasks.gpt.roofline import Roofline

TRIAL_S = 3.0  # seconds of training in a trial
MOST_S = 100.0  # no trial is begun after this long
WORTH = 1.03  # a choice is taken when it is this much faster; below, what stands stays
MEMORY_SHARE = 0.6  # of the machine's memory that training may hold: the rest is the system's and the page cache's

Say = Callable[[str], None]


@dataclass(frozen=True)
class SpeedTrial:
    """One short training. `tok_s` is None where it failed; `note` is the reason for what became of it."""

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
    edits: tuple[Set, ...]
    trials: tuple[SpeedTrial, ...]

    def fastest(self) -> SpeedTrial | None:
        return max((t for t in self.trials if t.tok_s), key=lambda t: t.tok_s or 0.0, default=None)


@dataclass(frozen=True)
class Known:
    """What a fit left behind: the edits, and the text that says why."""

    edits: tuple[Set, ...]
    text: str


def measure(bench: Workbench, source: str, folder: Path, facts: machine.Facts, path: Path, say: Say) -> Known:
    """The roofline, then the fit of `source`; says both as they come and remembers them in the file `path`.

    Raises CommandError where MLX does not run.
    """
    best = roofline.measure(bench.env)
    say(best.table(facts))
    fitted = fit(bench, source, folder, facts.memory_mb, best.device, say)
    say(found := efficiency(fitted, best, facts, source))
    text = "\n".join([best.table(facts), *(f"  {trial}" for trial in fitted.trials), found])
    remember(path, source, bench, fitted, text)
    return Known(fitted.edits, text)


def efficiency(fitted: Fit, best: Roofline, facts: machine.Facts, source: str) -> str:
    """MFU of the fastest trial against the product measured here, and against the chip's table where it stands there.

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


def fit(
    bench: Workbench,
    source: str,
    folder: Path,
    memory_mb: int,
    device: str,
    say: Say = lambda text: None,
    trial_s: float = TRIAL_S,
) -> Fit:
    """Tries one constant after the other, each on top of the choices so far; keeps what is clearly faster.

    A source without these constants needs no trial. `folder` is where the short runs happen.
    """
    bench = replace(bench, budget_s=trial_s, min_steps=0)
    started, chosen, trials = time.monotonic(), dict[str, str](), list[SpeedTrial]()

    def run(name: str, literal: str, best: SpeedTrial | None = None) -> SpeedTrial:
        wanted = [Set(k, v) for k, v in {**chosen, name: literal}.items() if constants.literals(source).get(k) != v]
        text = edits.apply(source, wanted) if wanted else source
        trial = _trial(bench, text, folder, name, literal, memory_mb)
        trial = replace(trial, note=trial.note or _reason(trial, best))
        say(f"  {trial}")
        trials.append(trial)
        return trial

    def walk(name: str, direction: list[str], best: SpeedTrial) -> SpeedTrial:
        """Along the values until one does not pay; past those that do not run."""
        for literal in direction:
            if time.monotonic() - started > MOST_S:
                break
            trial = run(name, literal, best)
            if trial.tok_s and trial.tok_s > WORTH * (best.tok_s or 0.0):
                best = trial
            elif best.tok_s:
                break
        return best

    for name, directions in axes(source, bench, device):
        stands = best = run(name, constants.literals(source)[name])
        for direction in directions:
            best = walk(name, direction, best)
            if best is not stands or not best.tok_s:
                break
        chosen[name] = best.literal
    found = [Set(k, v) for k, v in chosen.items() if constants.literals(source)[k] != v]
    return Fit(tuple(found), tuple(trials))


ROWS = "DEVICE_BATCH_SIZE"
MACHINE_FIT = (ROWS, "STACK_MATRICES", "COMPUTE_DTYPE")  # what `axes` turns: a machine's own affair


def axes(source: str, bench: Workbench, device: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The constants that change only the speed, with the values to try: directions, each nearest first.

    axes("DEVICE_BATCH_SIZE = 8\nTOTAL_BATCH_SIZE = 2**15\n", bench, "gpu") -> ("DEVICE_BATCH_SIZE", [["4", "2", "1"],
    ["16"]]) where a row has 2048 tokens. Rows at once are doubled up to the whole batch.
    """
    now = constants.read(source)
    if isinstance(rows := now.get(ROWS), int):
        tokens, pieces = now.get("TOTAL_BATCH_SIZE"), now.get("TRAIN_ROW_PIECES", 1)
        whole = tokens * pieces // corpus.load_meta(bench.data)["seq_len"] if isinstance(tokens, int) else rows
        yield (
            ROWS,
            [[str(rows >> k) for k in (1, 2, 3) if rows >> k], [str(rows << k) for k in (1, 2) if rows << k <= whole]],
        )
    if isinstance(stacked := now.get("STACK_MATRICES"), bool):
        yield "STACK_MATRICES", [[str(not stacked)]]
    if device == "gpu" and now.get("COMPUTE_DTYPE") in ("bfloat16", "float32"):  # a CPU computes in float32
        yield "COMPUTE_DTYPE", [['"float32"' if now["COMPUTE_DTYPE"] == "bfloat16" else '"bfloat16"']]


def _reason(trial: SpeedTrial, best: SpeedTrial | None) -> str:
    """ "12% faster than 8: taken", "4% slower than 8"; nothing for the value that stands."""
    if best is None or not trial.tok_s:
        return "" if best else "as it stands"
    if not best.tok_s:
        return f"runs, unlike {best.literal}: taken"
    change = trial.tok_s / best.tok_s - 1
    text = f"{abs(change):.0%} {'faster' if change > 0 else 'slower'} than {best.literal}"
    return text + ("" if change <= 0 else ": taken" if 1 + change > WORTH else ": too little to change it")


def _trial(bench: Workbench, source: str, folder: Path, name: str, literal: str, memory_mb: int) -> SpeedTrial:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train_mlx.py"
    path.write_text(source)
    m = experiment.rehearse(bench, path, folder / "run", seed=0)
    if m.failure is not None:
        return SpeedTrial(name, literal, None, m.peak_memory_mb, f"{m.failure.kind}: {m.failure.message[:80]}")
    if m.peak_memory_mb and m.peak_memory_mb > MEMORY_SHARE * memory_mb:
        note = f"more than {MEMORY_SHARE:.0%} of {memory_mb / 1024:.0f} GB"
        return SpeedTrial(name, literal, None, m.peak_memory_mb, note)
    tflops = m.mfu_percent / 100 * m.speed_index if m.mfu_percent and m.speed_index else None
    return SpeedTrial(name, literal, m.tok_s, m.peak_memory_mb, tflops=tflops)


# --- what is known already --------------------------------------------------------------------------------------------


def memory(cache: Path, facts: machine.Facts) -> Path:
    return cache / "machines" / facts.slug() / "fits.json"


def known(path: Path, source: str, bench: Workbench) -> Known | None:
    """What was found earlier for this source and data on this machine; None where it was not fitted yet."""
    entry = _read(path).get(_key(source, bench))
    return None if entry is None else Known(tuple(Set(k, v) for k, v in entry["edits"].items()), entry["table"])


def remember(path: Path, source: str, bench: Workbench, found: Fit, text: str) -> None:
    """What was found for `source`; the fitted source itself needs nothing more. Failures alone are not kept."""
    if found.fastest() is None:
        return
    stored, fitted = _read(path), edits.apply(source, found.edits) if found.edits else source
    stored[_key(fitted, bench)] = {"edits": {}, "table": text}
    stored[_key(source, bench)] = {"edits": {e.name: e.literal for e in found.edits}, "table": text}
    write_atomic(path, json.dumps(stored, indent=1).encode())


def _key(source: str, bench: Workbench) -> str:
    mlx, sha256 = version("mlx"), hashlib.sha256(source.encode()).hexdigest()[:16]
    return f"{bench.data.parent.name}/{bench.data.name} mlx-{mlx} {sha256}"


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
