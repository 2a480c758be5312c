"""Measure a candidate by confined children: one trains it, others score it (scoring.py).

All times are by the parent's clock. A run ends in a val_bpb or in a Failure of a kind that failures.py lists.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from autoresearch import jsonable
from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure import checkpoint, feeder, outcome, run_folder
from autoresearch.measure.clock import LATE, Clock
from autoresearch.measure.follower import Follower, Judge, Listener
from autoresearch.measure.launch import RESULT_S, start
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.scoring import Scoring, score
from autoresearch.measure.timekeeper import Timekeeper
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.records import Failure, Measurement
from autoresearch.system.pipes import ChildEvent

PATIENT_S = 60.0  # overtime of a run whose val_bpb nobody compares


def _ignore(event: ChildEvent) -> None:
    """Ignore an event."""


def measure(
    bench: Workbench,
    source: Path,
    folder: Path,
    seed: int,
    listen: Listener = _ignore,
    *,
    split: str = "val",
    keep_kernels: bool = False,
    early_stop: EarlyStopCheck | None = None,
    ceiling_score: float | None = None,
) -> Measurement:
    """Run the candidate at `source` once with `seed`: train, save, score on `split`. No candidate makes it raise.

    `folder` is made afresh; it ends up with checkpoint.safetensors and the children's logs. With `keep_kernels` the
    kernels that the run compiled are kept for later runs: only for sources that a person wrote, since later runs
    execute them. `early_stop` looks at the loss at half the budget and may end the run there: it then has neither a
    val_bpb nor a failure. A val_bpb above `ceiling_score`, which could not be kept, is probed only a little.
    """
    started = time.monotonic()
    spec = RunSpec.of(bench, source, folder, seed)
    run_folder.make(folder, bench.kernels)
    train = _train(spec, listen, early_stop=early_stop)
    if keep_kernels:
        run_folder.keep_kernels(folder, bench.kernels)
    run_folder.tidy(folder, run_folder.LEFT)  # anything else that it wrote is state outside parameters()
    train.failure = train.failure or _saved_otherwise(train, folder)
    measurement = outcome.measurement(train, seed, early_stop)
    scored: Outcome | None = None
    if measurement.failure is None and not train.stopped:
        scored = score(spec, Scoring(split, ceiling_score=ceiling_score, keep_kernels=keep_kernels), listen)
        scored.failure = scored.failure or _built_otherwise(train, scored)
        measurement = outcome.with_score(measurement, scored)
    run_folder.tidy(folder, run_folder.LEFT)
    total_s = time.monotonic() - started
    return replace(measurement, total_s=total_s, seconds=outcome.shares(train, scored, total_s))


def rehearse(bench: Workbench, source: Path, folder: Path, seed: int, listen: Listener = _ignore) -> Measurement:
    """Train a person's source without scoring, for the speed and the memory; its kernels are kept for later runs.

    A slow step may outlast the budget by PATIENT_S.
    """
    started = time.monotonic()
    run_folder.make(folder, bench.kernels)
    bench = replace(bench, overtime_s=PATIENT_S)
    train = _train(RunSpec.of(bench, source, folder, seed), listen)
    run_folder.keep_kernels(folder, bench.kernels)
    run_folder.tidy(folder, run_folder.LEFT)
    return replace(outcome.measurement(train, seed), total_s=time.monotonic() - started)


def evaluate(
    bench: Workbench,
    source: Path,
    folder: Path,
    seed: int,
    split: str,
    *,
    rows: int | None = None,
    order: int | None = None,
) -> Measurement:
    """Score the checkpoint in `folder` again: on `split`, in batches of `rows`, in a row order drawn from `order`."""
    started = time.monotonic()
    scored = score(RunSpec.of(bench, source, folder, seed), Scoring(split, rows, order), _ignore)
    run_folder.tidy(folder, run_folder.LEFT)
    return replace(outcome.with_score(Measurement(seed), scored), total_s=time.monotonic() - started)


def _train(spec: RunSpec, listen: Listener, *, early_stop: EarlyStopCheck | None = None) -> Outcome:
    bench = spec.bench
    seq_len = jsonable.from_json(feeder.RowShape, bench.data.meta.read_bytes()).seq_len
    rows = feeder.load_rows(bench.data.train, seq_len)
    clock = Clock(bench.budget_s, len(rows) * seq_len, bench.overtime_s)
    limits = {
        "start": bench.startup_limit_s,
        "clock_started": (1 + LATE) * bench.budget_s + clock.most_s,
        "trained": bench.save_limit_s,
        "saved": RESULT_S,
    }
    with feeder.Feeder(rows, spec.seed, clock) as feeding:
        child, token = start(spec, "train", pass_fds=feeding.pass_fds)
        feeding.release()
        keeper = Timekeeper(clock, bench, child)
        judge = _too_slow(bench)
        follower = Follower(child, token, spec, limits, listen, judge, early_stop, name="train", timekeeper=keeper)
        train = follower.follow()
    saved = spec.folder / run_folder.CHECKPOINT
    train.failure = train.failure or keeper.late(train, saved.lstat().st_size if saved.is_file() else 0)
    return train


def _saved_otherwise(train: Outcome, folder: Path) -> Failure | None:
    """Return a failure where the checkpoint holds other parameters than those with which training ended."""
    saved = folder / run_folder.CHECKPOINT
    if train.stopped or not saved.is_file():  # that it is missing is found when it is scored
        return None
    try:
        found = checkpoint.fingerprint(saved)
    except checkpoint.CheckpointError as error:
        return Failure("checkpoint", f"the checkpoint is not as MLX writes it: {error}")
    if found == train.get("hashed", "parameters"):
        return None
    return Failure("tampered", "the checkpoint holds other parameters than those with which training ended")


def _built_otherwise(train: Outcome, scored: Outcome) -> Failure | None:
    """Return a failure where build_model gave other parameters in a process that was scored than in training."""
    if scored.built <= {train.get("ready", "parameters")}:
        return None
    draw = "draw them with mx.random, which the harness seeds, at each call"
    return Failure("build", f"build_model(task) gave other parameters in another process: {draw}")


def _too_slow(bench: Workbench) -> Judge:
    """Judge by its warm-up step whether a candidate can do `min_steps` steps in the budget."""

    def judge(event: ChildEvent) -> Failure | None:
        step_s = float(event.get("warmup_step_s") or 0.0)
        if event["event"] != "warmed_up" or step_s * bench.min_steps <= bench.budget_s:
            return None
        few = f"fewer than {bench.min_steps} steps fit the {bench.budget_s:g} s budget"
        return Failure("slow", f"a warm-up step took {step_s:.1f} s: {few}")

    return judge
