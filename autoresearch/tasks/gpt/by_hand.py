"""Run `train_mlx.py` as a program: one run by hand, in the same children as the loop's runs, with a summary."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch import environment, texts
from autoresearch.candidate import edits
from autoresearch.errors import GitError
from autoresearch.measure import experiment
from autoresearch.paths import EDITABLE, Cache
from autoresearch.record.git import Repository, tag_of
from autoresearch.records import Measurement
from autoresearch.system.exits import exit_code
from autoresearch.system.invocation import versions
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.data.prepared import load_meta
from autoresearch.tasks.gpt.starting import starting_edits
from autoresearch.tasks.gpt.workbench import choose_data, workbench

ABOUT = """\
Train and evaluate this file once, as the loop does, and print a summary block. Nothing is recorded.

Its options are environment variables:
  AUTORESEARCH_DATASET, AUTORESEARCH_PROFILE   data set and profile (the prepared ones)
  AUTORESEARCH_TIME_BUDGET_S                   seconds of training (the profile's)
  AUTORESEARCH_SEED                            the run's seed (42)
  AUTORESEARCH_NO_SANDBOX                      1 runs unconfined
"""


def run_by_hand(source: Path, harness: Path) -> int:
    """Train and evaluate `source` and return the exit code; AUTORESEARCH_* choose data, seed and budget."""
    parser = argparse.ArgumentParser(
        prog=source.name, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=versions(), help="print the versions and exit")

    def run() -> int:
        parser.parse_args()
        return _run(source, harness)

    return exit_code(run, stopped="\nstopped")


def _run(source: Path, harness: Path) -> int:
    with hold(Cache.default().machine_lock, "this machine"):
        return _run_alone(source, harness)


def _run_alone(source: Path, harness: Path) -> int:
    folder = harness.parent / "runs" / "by-hand"
    folder.mkdir(parents=True, exist_ok=True)
    dataset, profile, budget_s, seed, no_sandbox = environment.by_hand()
    data = choose_data(dataset, profile, print)
    bench = workbench(data, folder, harness.parent, budget_s, no_sandbox, print, anew=True)
    # A person may wait for what the loop would not.
    bench = replace(bench, min_steps=0, overtime_s=experiment.PATIENT_S)
    candidate = folder / EDITABLE
    candidate.write_bytes(with_profile(source, load_meta(data).constants).encode())
    print(f"task: {data.parent.name}/{data.name}, {bench.budget_s:g} s of training, seed {seed}")
    measurement = experiment.measure(bench, candidate, folder / "run", seed, StepPrinter().hear, keep_kernels=True)
    print(summary(measurement))
    return 0 if measurement.ok else 1


def with_profile(path: Path, wanted: Mapping[str, str]) -> str:
    """Return the source with the starting constants of the data's profile, as the loop begins a branch.

    Only values that still are the shipped ones are replaced, and on a branch of the loop none is.
    """
    source = texts.source(path.read_bytes(), path.name)
    repo = Repository(path.parent)
    try:
        ours = tag_of(repo.branch()) is not None
    except GitError:  # no repository
        ours = False

    def first() -> str:
        try:
            return texts.source(repo.first_version(path.name), path.name)
        except GitError:  # no repository, or not committed yet
            return source

    changes = [] if ours else starting_edits(source, wanted, first)
    if changes:
        print(f"constants of the profile: {', '.join(f'{edit.name} = {edit.literal}' for edit in changes)}")
    return edits.apply(source, changes) if changes else source


class StepPrinter:
    """The progress of training: one line that rewrites itself on a terminal, a line for each tenth elsewhere."""

    def __init__(self) -> None:
        self._tenth = -1

    def hear(self, event: Mapping[str, Any]) -> None:
        if event["event"] != "step":
            return
        text = f"{event['progress']:6.1%}  step {event['step']:5d}  loss {event['loss']:.4f}"
        if sys.stdout.isatty():
            print(f"\r{text}", end="\n" if event["progress"] >= 1 else "", flush=True)
        elif int(event["progress"] * 10) > self._tenth:
            self._tenth = int(event["progress"] * 10)
            print(text, flush=True)


def summary(measurement: Measurement) -> str:
    """Format the block that agents of this family of projects search for; absent numbers have no line.

    summary(Measurement(seed=1, val_bpb=1.5, depth=4)) -> "---\\nval_bpb:          1.500000\\n...depth:            4"
    """
    m = measurement
    rows = [
        ("val_bpb", m.score, "{:.6f}"),
        ("training_seconds", m.training_s, "{:.1f}"),
        ("total_seconds", m.total_s, "{:.1f}"),
        ("peak_memory_mb", m.peak_memory_mb, "{:.1f}"),
        ("mfu_percent", m.mfu_percent, "{:.2f}"),
        ("total_tokens_M", m.total_tokens and m.total_tokens / 1e6, "{:.1f}"),
        ("num_steps", m.num_steps, "{:d}"),
        ("num_params_M", m.num_params and m.num_params / 1e6, "{:.1f}"),
        ("depth", m.depth, "{}"),
    ]
    lines = ["---"] + [f"{name + ':':<18}{form.format(value)}" for name, value, form in rows if value is not None]
    if m.failure is not None:
        lines += [f"{'failed:':<18}{m.failure.kind}: {m.failure.message}"]
        lines += [m.failure.detail.rstrip()] if m.failure.detail else []
    return "\n".join(lines)
