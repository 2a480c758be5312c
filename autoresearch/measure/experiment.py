"""Measure a candidate by two confined children, one that trains it and one that scores it.

All times are by the parent's clock. A run ends in a val_bpb or in a Failure of a kind that failures.py lists.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure import outcome, run_folder
from autoresearch.measure.child_events import ChildEvent
from autoresearch.measure.follower import Follower, Judge, Listener
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.records import Failure, Measurement
from autoresearch.system.process import Child
from autoresearch.system.sandbox import environment, limits

LOG_LIMIT = 2 * 2**20  # bytes of a child's output that are kept
RESULT_S = 10.0  # seconds that a child may take to end after its last event


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
) -> Measurement:
    """Run the candidate at `source` once with `seed`: train, save, score on `split`. No candidate makes it raise.

    `folder` is made afresh; it ends up with checkpoint.safetensors, train.log and evaluate.log. With `keep_kernels`
    the kernels that the run compiled are kept for later runs: only for sources that a person wrote, since later runs
    execute them. `early_stop` looks at the loss at half the budget and may end the run there: it then has neither a
    val_bpb nor a failure.
    """
    started = time.monotonic()
    spec = RunSpec.of(bench, source, folder, seed)
    run_folder.make(folder, bench.kernels)
    train = _train(spec, listen, early_stop=early_stop)
    run_folder.tidy(folder, [*run_folder.LEFT, "tmp"])  # anything else that it wrote is state outside parameters()
    measurement = outcome.measurement(train, seed, early_stop)
    scored: Outcome | None = None
    if measurement.failure is None and not train.stopped:
        scored = _score(spec, split, listen)
        measurement = replace(measurement, failure=scored.failure, val_bpb=scored.val_bpb)
    if keep_kernels and bench.kernels and (folder / "tmp" / "mlx").is_dir():
        shutil.copytree(folder / "tmp" / "mlx", bench.kernels, dirs_exist_ok=True)
    run_folder.tidy(folder, run_folder.LEFT)
    total_s = time.monotonic() - started
    return replace(measurement, total_s=total_s, seconds=outcome.shares(train, scored, total_s))


def rehearse(
    bench: Workbench, source: Path, folder: Path, seed: int, listen: Listener = _ignore, *, slack_s: float = 60.0
) -> Measurement:
    """Train without scoring, for the speed and the memory. A slow step may outlast the budget by `slack_s`."""
    started = time.monotonic()
    run_folder.make(folder, bench.kernels)
    train = _train(RunSpec.of(bench, source, folder, seed), listen, slack_s=slack_s)
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
    (folder / "tmp").mkdir(exist_ok=True)
    scored = _score(RunSpec.of(bench, source, folder, seed), split, _ignore, rows, order)
    run_folder.tidy(folder, run_folder.LEFT)
    return Measurement(seed, scored.val_bpb, scored.failure, total_s=time.monotonic() - started)


def _train(
    spec: RunSpec, listen: Listener, *, slack_s: float = 0.0, early_stop: EarlyStopCheck | None = None
) -> Outcome:
    bench = spec.bench
    allowance = max(1.0, 0.01 * bench.budget_s) + slack_s
    limits = {
        "start": bench.startup_limit_s,
        "clock_started": bench.budget_s * 1.1 + allowance,
        "trained": bench.save_limit_s,
        "saved": RESULT_S,
    }
    child, token = start(spec, "train", bench.data.train)
    train = Follower(child, token, spec, limits, listen, _too_slow(bench), early_stop, name="train").follow()
    train.failure = train.failure or outcome.late(train, bench.budget_s, allowance)
    return train


def _score(spec: RunSpec, split: str, listen: Listener, rows: int | None = None, order: int | None = None) -> Outcome:
    """Score the checkpoint; where memory does not suffice, once more row by row."""
    bench = spec.bench
    options = ["--rows", str(rows)] if rows else []
    options += ["--order", str(order)] if order is not None else []
    limits = {
        "start": bench.startup_limit_s + bench.save_limit_s,
        "ready": bench.evaluation_limit_s,
        "result": RESULT_S,
    }
    child, token = start(spec, "evaluate", bench.data.rows(split), options)
    scored = Follower(child, token, spec, limits, listen, name="evaluate").follow()
    if scored.failure and scored.failure.kind == "memory" and rows != 1:
        return _score(spec, split, listen, 1, order)
    return scored


def _too_slow(bench: Workbench) -> Judge:
    """Judge by its warm-up step whether a candidate can do `min_steps` steps in the budget."""

    def judge(event: ChildEvent) -> Failure | None:
        step_s = float(event.get("warmup_step_s") or 0.0)
        if event["event"] != "warmed_up" or step_s * bench.min_steps <= bench.budget_s:
            return None
        few = f"fewer than {bench.min_steps} steps fit the {bench.budget_s:g} s budget"
        return Failure("slow", f"a warm-up step took {step_s:.1f} s: {few}")

    return judge


def start(spec: RunSpec, name: str, rows: Path, options: Sequence[str] = ()) -> tuple[Child, str]:
    """Start the child `name` of the harness, confined; return it with the token that its events must carry.

    The file `rows` becomes the child's standard input: a candidate finds no path to it.
    """
    bench, token = spec.bench, secrets.token_hex(16)
    argv = [bench.python, "-P", str(bench.harness[0]), name, str(spec.folder), "--source", str(spec.source)]
    argv += ["--seed", str(spec.seed), "--sha256", spec.sha256, *options]
    env = environment(spec.folder, _facts(spec, token))
    # Inside the sandbox only: a preloaded OpenBLAS starts threads in bwrap itself, which then hangs when it forks.
    inside = {"LD_PRELOAD": env.pop("LD_PRELOAD", ""), **bench.env}
    set_inside = ["/usr/bin/env", *(f"{name}={value}" for name, value in inside.items())]
    child = Child(
        [*_confinement(spec), *set_inside, *argv],
        cwd=spec.folder,
        env=env,
        log_path=spec.folder / f"{name}.log",
        log_limit_bytes=LOG_LIMIT,
        stdin=rows,
    )
    return child, token


def _facts(spec: RunSpec, token: str) -> Mapping[str, str]:
    """Return the environment variables that tell a child its data, seed, budget and token."""
    data = spec.bench.data
    return {
        "AUTORESEARCH_CACHE": str(data.cache.folder),
        "AUTORESEARCH_DATASET": data.dataset,
        "AUTORESEARCH_PROFILE": data.profile,
        "AUTORESEARCH_SEED": str(spec.seed),
        "AUTORESEARCH_TIME_BUDGET_S": str(spec.bench.budget_s),
        "AUTORESEARCH_EVENT_TOKEN": token,
    }


def _confinement(spec: RunSpec) -> list[str]:
    """Return the words before the command that set up the sandbox and the limits."""
    bench, data = spec.bench, spec.bench.data
    hidden = [data.cache.folder, *bench.hide]
    shown = [data.meta, data.token_bytes, spec.source, *bench.harness]
    prefix = bench.sandbox.prefix(write=[spec.folder], hide=hidden, read=shown)
    return [*prefix, *limits(bench.python, file_bytes=bench.file_limit)]
