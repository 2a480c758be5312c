"""Fits a candidate to this machine without changing its mathematics, by short measured trials.

Rows at once, stacking and compute type decide how fast the same computation runs here; the total batch stays. What is
found is kept per machine, data and source, and applied as SET edits in a commit of its own. Depth and total batch do
change what is learned: they are the night's first experiments.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch import constants, edits, experiment
from autoresearch.experiment import Workbench
from autoresearch.files import write_atomic
from autoresearch.records import Set

TRIAL_S = 3.0  # seconds of training in a trial
MOST_S = 120.0  # no trial is begun after this long
WORTH = 1.03  # a choice is taken when it is this much faster; below, what stands stays
MEMORY_SHARE = 0.6  # of the machine's memory that training may hold: the rest is the system's and the page cache's

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One short training. `tok_s` is None where it failed."""

    name: str
    literal: str
    tok_s: float | None
    peak_memory_mb: float | None
    note: str = ""

    def __str__(self) -> str:
        speed = f"{self.tok_s:12,.0f} tok/s" if self.tok_s else " " * 18
        memory = f"{self.peak_memory_mb / 1024:7.2f} GB" if self.peak_memory_mb else " " * 10
        return f"{self.name} = {self.literal:<12}{speed}{memory}  {self.note}".rstrip()


@dataclass(frozen=True)
class Fit:
    edits: tuple[Set, ...]
    trials: tuple[Trial, ...]

    def table(self) -> str:
        return "\n".join(str(trial) for trial in self.trials)


def fit(
    bench: Workbench, source: str, folder: Path, memory_mb: int, say: Say = lambda text: None, trial_s: float = TRIAL_S
) -> Fit:
    """Tries one constant after the other, each on top of the choices so far; keeps what is clearly faster.

    A source without these constants needs no trial. `folder` is where the short runs happen.
    """
    bench = replace(bench, budget_s=trial_s, min_steps=0)
    started, chosen, trials = time.monotonic(), dict[str, str](), list[Trial]()

    def run(name: str, literal: str) -> Trial:
        wanted = [Set(k, v) for k, v in {**chosen, name: literal}.items() if constants.literals(source).get(k) != v]
        text = edits.apply(source, wanted) if wanted else source
        trial = _trial(bench, text, folder, name, literal, memory_mb)
        say(f"  {trial}")
        trials.append(trial)
        return trial

    for name, choices in axes(source, bench):
        best = run(name, constants.literals(source)[name])
        for literal in choices:
            if time.monotonic() - started > MOST_S:
                break
            trial = run(name, literal)
            if trial.tok_s and trial.tok_s > WORTH * (best.tok_s or 0.0):
                best = trial
            elif name == ROWS:
                break  # the first step that does not pay: further ones do less
        chosen[name] = best.literal
    found = [Set(k, v) for k, v in chosen.items() if constants.literals(source)[k] != v]
    return Fit(tuple(found), tuple(trials))


ROWS = "DEVICE_BATCH_SIZE"
MACHINE_FIT = (ROWS, "STACK_MATRICES", "COMPUTE_DTYPE")  # what `axes` turns: a machine's own affair


def axes(source: str, bench: Workbench) -> Iterator[tuple[str, list[str]]]:
    """The constants that change only the speed, with the values to try, nearest first.

    axes("DEVICE_BATCH_SIZE = 16\\n...", bench) -> ("DEVICE_BATCH_SIZE", ["8", "4", "2"]), ...
    """
    now = constants.read(source)
    if isinstance(rows := now.get(ROWS), int):
        yield ROWS, [str(rows >> k) for k in (1, 2, 3) if rows >> k]
    if isinstance(stacked := now.get("STACK_MATRICES"), bool):
        yield "STACK_MATRICES", [str(not stacked)]
    if "LD_PRELOAD" not in bench.env and now.get("COMPUTE_DTYPE") in ("bfloat16", "float32"):  # a CPU has one choice
        yield "COMPUTE_DTYPE", ['"float32"' if now["COMPUTE_DTYPE"] == "bfloat16" else '"bfloat16"']


def _trial(bench: Workbench, source: str, folder: Path, name: str, literal: str, memory_mb: int) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train_mlx.py"
    path.write_text(source)
    m = experiment.rehearse(bench, path, folder / "run", seed=0)
    if m.failure is not None:
        return Trial(name, literal, None, m.peak_memory_mb, f"{m.failure.kind}: {m.failure.message[:80]}")
    if m.peak_memory_mb and m.peak_memory_mb > MEMORY_SHARE * memory_mb:
        return Trial(
            name, literal, None, m.peak_memory_mb, f"more than {MEMORY_SHARE:.0%} of {memory_mb / 1024:.0f} GB"
        )
    return Trial(name, literal, m.tok_s, m.peak_memory_mb)


# --- what is known already --------------------------------------------------------------------------------------------


def known(path: Path, source: str, bench: Workbench) -> list[Set] | None:
    """The edits found earlier for this source and data on this machine; None where it was not fitted yet."""
    entry = _read(path).get(_key(source, bench))
    return None if entry is None else [Set(name, literal) for name, literal in entry["edits"].items()]


def remember(path: Path, source: str, bench: Workbench, found: Fit) -> None:
    """What was found for `source`; the fitted source itself needs nothing more. Failures alone are not kept."""
    if not any(trial.tok_s for trial in found.trials):
        return
    stored, fitted = _read(path), edits.apply(source, found.edits) if found.edits else source
    stored[_key(fitted, bench)] = {"edits": {}, "table": found.table()}
    stored[_key(source, bench)] = {"edits": {e.name: e.literal for e in found.edits}, "table": found.table()}
    write_atomic(path, json.dumps(stored, indent=1).encode())


def _key(source: str, bench: Workbench) -> str:
    return f"{bench.data.parent.name}/{bench.data.name} {hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
