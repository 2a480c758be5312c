"""Runs a candidate: the train child, then the evaluate child, watched from outside -> Measurement.

The parent's clock is the one that counts. A run ends in a val_bpb or in a Failure of a kind that failures.py lists.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from autoresearch.decide.early_stop import AT, EarlyStopCheck
from autoresearch.failures import classify
from autoresearch.measure import outcome, run_folder
from autoresearch.measure.outcome import ChildEvent, Outcome
from autoresearch.records import Failure, Measurement
from autoresearch.system import machine
from autoresearch.system.process import Child
from autoresearch.system.sandbox import Sandbox, environment, limits

Listener = Callable[[ChildEvent], None]

LOG_LIMIT = 2 * 2**20  # bytes of a child's output that are kept
REPEATED = frozenset({"step", "evaluated", "failed"})  # events that a child says more than once
FREE_DISK = 2**30  # bytes below which a run is stopped
SWAP_LIMIT_MB = 2048  # growth during a run: the machine drowns, whoever is to blame


# The files that judge; a child can read no other file of the project.
HARNESS = ("prepare.py", "autoresearch/tasks/gpt/children.py")


@dataclass(frozen=True)
class Workbench:
    """What measuring needs to know of this machine and this task; fixed for a night."""

    harness: Path  # the snapshot of prepare.py, with the rest of HARNESS beside it
    data: Path  # the prepared data: .../data/<dataset>/<profile>
    budget_s: float
    sandbox: Sandbox
    hide: tuple[Path, ...] = ()  # what children must not read beside the cache: other runs, the journal
    env: Mapping[str, str] = field(default_factory=dict)  # extra environment of the children (LD_PRELOAD, MLX_*)
    kernels: Path | None = None  # compiled kernels to start from, copied into each run's TMPDIR
    startup_limit_s: float = 600.0  # before the first baseline is known; a CPU's kernels are compiled by g++
    evaluation_limit_s: float = 1800.0
    save_limit_s: float = 120.0
    min_steps: int = 8  # a candidate whose warm-up step promises fewer steps than this in the budget is hopeless
    memory_limit: int = 0  # bytes a child may hold; 0: nine tenths of the machine's memory
    file_limit: int = 4 * 2**30  # bytes of the largest file that a child can write: a billion parameters
    folder_limit: int = 6 * 2**30  # bytes of all that lies in a run's folder
    files_limit: int = 20_000  # files in it; compiled kernels are hundreds
    python: str = sys.executable
    swap_mb: Callable[[], int] = machine.swap_mb

    @property
    def cache(self) -> Path:
        return self.data.parent.parent.parent

    @property
    def harness_files(self) -> list[Path]:
        return [self.harness.parent / name for name in HARNESS]


def measure(
    bench: Workbench,
    source: Path,
    run_dir: Path,
    seed: int,
    listen: Listener = lambda e: None,
    *,
    keep_kernels: bool = False,
    halfway: EarlyStopCheck | None = None,
) -> Measurement:
    """One run of the candidate at `source` with `seed`: trains, saves, evaluates. What a candidate does raises nothing.

    `run_dir` is made afresh; it ends up with checkpoint.safetensors, train.log and evaluate.log. With `keep_kernels`
    the kernels that it compiled are kept for later runs: only for sources that a person wrote, since they are executed.
    `halfway` looks at the loss at half the budget, and may end the run there: without a val_bpb, and without a failure.
    """
    started = time.monotonic()
    run_folder.make(run_dir, bench.kernels)
    sha256 = sha256_of(source)
    train = _train(bench, source, sha256, run_dir, seed, listen, halfway=halfway)
    run_folder.tidy(run_dir, [*run_folder.LEFT, "tmp"])  # what else it wrote is state outside parameters()
    measurement = outcome.measurement(train, seed, halfway)
    evaluated: Outcome | None = None
    if measurement.failure is None and not train.stopped:
        evaluated = _evaluate(bench, source, sha256, run_dir, seed, "val", listen)
        measurement = replace(
            measurement,
            failure=evaluated.failure,
            val_bpb=None if evaluated.failure else evaluated.get("result", "val_bpb"),
        )
    if keep_kernels and bench.kernels and (run_dir / "tmp" / "mlx").is_dir():
        shutil.copytree(run_dir / "tmp" / "mlx", bench.kernels, dirs_exist_ok=True)
    run_folder.tidy(run_dir, run_folder.LEFT)
    total_s = time.monotonic() - started
    return replace(measurement, total_s=total_s, seconds=outcome.shares(train, evaluated, total_s))


def rehearse(
    bench: Workbench, source: Path, run_dir: Path, seed: int, listen: Listener = lambda e: None
) -> Measurement:
    """Trains alone, for the speed and the memory: a Measurement without val_bpb. A slow step may outlast the budget."""
    started = time.monotonic()
    run_folder.make(run_dir, bench.kernels)
    train = _train(bench, source, sha256_of(source), run_dir, seed, listen, slack_s=60.0)
    run_folder.tidy(run_dir, run_folder.LEFT)
    return replace(outcome.measurement(train, seed), total_s=time.monotonic() - started)


def evaluate(
    bench: Workbench,
    source: Path,
    run_dir: Path,
    seed: int,
    split: str,
    *,
    rows: int | None = None,
    order: int | None = None,
) -> Measurement:
    """Scores the checkpoint in `run_dir` again: on another split, with other batch rows, in another row order."""
    started = time.monotonic()
    (run_dir / "tmp").mkdir(exist_ok=True)
    sha256 = sha256_of(source)
    evaluated = _evaluate(bench, source, sha256, run_dir, seed, split, lambda e: None, rows, order)
    run_folder.tidy(run_dir, run_folder.LEFT)
    val_bpb = None if evaluated.failure else evaluated.get("result", "val_bpb")
    return Measurement(seed, val_bpb, evaluated.failure, total_s=time.monotonic() - started)


def sha256_of(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _train(
    bench: Workbench,
    source: Path,
    sha256: str,
    run_dir: Path,
    seed: int,
    listen: Listener,
    slack_s: float = 0.0,
    halfway: EarlyStopCheck | None = None,
) -> Outcome:
    child, token = start(bench, "train", source, sha256, run_dir, seed, bench.data / "train.u16", [])
    allowance = max(1.0, 0.01 * bench.budget_s) + slack_s
    limits = {
        "start": bench.startup_limit_s,
        "clock_started": bench.budget_s * 1.1 + allowance,
        "trained": bench.save_limit_s,
        "saved": 10.0,
    }
    train = Follower(child, token, run_dir, bench, limits, listen, _hopeless(bench), halfway).follow()
    train.failure = train.failure or outcome.late(train, bench.budget_s, allowance)
    return train


def _evaluate(
    bench: Workbench,
    source: Path,
    sha256: str,
    run_dir: Path,
    seed: int,
    split: str,
    listen: Listener,
    rows: int | None = None,
    order: int | None = None,
) -> Outcome:
    extra = ["--rows", str(rows)] if rows else []
    extra += ["--order", str(order)] if order is not None else []
    child, token = start(bench, "evaluate", source, sha256, run_dir, seed, bench.data / "eval" / f"{split}.u16", extra)
    limits = {"start": bench.startup_limit_s + bench.save_limit_s, "ready": bench.evaluation_limit_s, "result": 10.0}
    evaluated = Follower(child, token, run_dir, bench, limits, listen).follow()
    if evaluated.failure and evaluated.failure.kind == "memory" and rows != 1:
        return _evaluate(bench, source, sha256, run_dir, seed, split, listen, 1, order)
    return evaluated


def start(
    bench: Workbench, name: str, source: Path, sha256: str, run_dir: Path, seed: int, rows: Path, extra: list[str]
) -> tuple[Child, str]:
    """Starts a child of prepare.py, confined. Its events must carry the token; its rows come as an open file."""
    token = secrets.token_hex(16)
    argv = [bench.python, "-P", str(bench.harness), name, str(run_dir), "--source", str(source), "--seed", str(seed)]
    argv += ["--sha256", sha256, *extra]
    env = environment(
        run_dir,
        {
            "AUTORESEARCH_CACHE": str(bench.cache),
            "AUTORESEARCH_DATASET": bench.data.parent.name,
            "AUTORESEARCH_PROFILE": bench.data.name,
            "AUTORESEARCH_SEED": str(seed),
            "AUTORESEARCH_TIME_BUDGET_S": str(bench.budget_s),
            "AUTORESEARCH_EVENT_TOKEN": token,
        },
    )
    facts = [bench.data / "meta.json", bench.data / "token_bytes.npy"]
    hidden, shown = [bench.cache, *bench.hide], [*facts, source, *bench.harness_files]
    prefix = bench.sandbox.prefix(write=[run_dir], hide=hidden, read=shown)
    prefix += limits(bench.python, file_bytes=bench.file_limit)
    # Inside the sandbox only: a preloaded OpenBLAS starts threads in bwrap itself, which then hangs when it forks.
    inside = {"LD_PRELOAD": env.pop("LD_PRELOAD", ""), **bench.env}
    prefix += ["/usr/bin/env", *(f"{name}={value}" for name, value in inside.items())]
    log = run_dir / f"{name}.log"
    child = Child([*prefix, *argv], cwd=run_dir, env=env, log_path=log, log_limit_bytes=LOG_LIMIT, stdin=rows)
    return child, token


def _hopeless(bench: Workbench) -> Callable[[ChildEvent], Failure | None]:
    def judge(event: ChildEvent) -> Failure | None:
        step_s = float(event.get("warmup_step_s") or 0.0)
        if event["event"] != "warmed_up" or step_s * bench.min_steps <= bench.budget_s:
            return None
        few = f"fewer than {bench.min_steps} steps fit the {bench.budget_s:g} s budget"
        message = f"a warm-up step took {step_s:.1f} s: {few}"
        return Failure("slow", message)

    return judge


@dataclass
class Follower:
    """Listens to a child until it ends; kills it past a limit (seconds after an event) or short of memory."""

    child: Child
    token: str
    run_dir: Path
    bench: Workbench
    limits: Mapping[str, float]
    listen: Listener
    judge: Callable[[ChildEvent], Failure | None] = lambda event: None
    halfway: EarlyStopCheck | None = None
    outcome: Outcome = field(default_factory=Outcome)
    phase: str = "start"
    slack_s: float = 0.0

    def follow(self) -> Outcome:
        outcome = self.outcome
        outcome.started = looked = time.monotonic()
        self.swap_mb = self.bench.swap_mb()
        self.deadline = outcome.started + self.limits["start"]
        with self.child:
            while outcome.failure is None and not outcome.stopped:
                got = self.child.next_event(timeout=0.25)
                if got is not None and got[1].get("token") == self.token:
                    self._take(*got)
                elif got is None and not self.child.running:
                    break
                now = time.monotonic()
                if outcome.failure is None and now > self.deadline:
                    outcome.failure = _too_late(self.phase, self.limits[self.phase])
                if outcome.failure is None and now - looked > 0.5:
                    looked, outcome.failure = now, _short(self.child, self.run_dir, self.bench, self.swap_mb)
        outcome.ended = time.monotonic()
        if outcome.failure is None and not (outcome.stopped or {"saved", "result"} & outcome.events.keys()):
            outcome.failure = _exited(self.child, self.phase)
        if outcome.failure is not None:
            outcome.failure = classify(outcome.failure)
        return outcome

    def _take(self, at: float, event: ChildEvent) -> None:
        name, outcome = event["event"], self.outcome
        if name in outcome.events and name not in REPEATED:
            outcome.failure = Failure("tampered", f"`{name}` was said a second time: one run has one clock")
            return
        if name == "step":
            outcome.curve.append((event["progress"], event["loss"]))
            if self.halfway is not None and outcome.behind_nats is None and event["progress"] >= AT:
                outcome.behind_nats = self.halfway.behind(outcome.curve)
                outcome.stopped = self.halfway.ends(outcome.behind_nats)
        outcome.events[name] = (at, event)
        if name == "warmed_up":  # a slow machine's step may outlast the budget; whether by too much, is judged after
            self.slack_s = min(2 * float(event.get("warmup_step_s") or 0.0), 0.25 * self.bench.budget_s)
        if name in self.limits:
            self.phase, self.deadline = name, at + self.limits[name] + (self.slack_s if name == "clock_started" else 0)
        outcome.failure = _said(event) or self.judge(event)
        self.listen(event)


def _said(event: ChildEvent) -> Failure | None:
    if event["event"] != "failed":
        return None
    return Failure(
        str(event.get("kind")), _plain(str(event.get("message"))), _plain(str(event.get("detail", "")), "\n")
    )


def _plain(text: str, kept: str = "") -> str:
    """A candidate's words as printable text, since they reach terminals and commit messages; `kept` stays as it is."""
    return "".join(c if c.isprintable() or c in kept else " " for c in text)


def _too_late(phase: str, limit_s: float) -> Failure:
    if phase == "start":
        return Failure(
            "startup", f"no training step within {limit_s:.0f} s of start-up: importing, building, warming up"
        )
    if phase == "clock_started":
        return Failure("overrun", f"training did not end by itself within {limit_s:.0f} s")
    return Failure("hang", f"nothing more was heard within {limit_s:.0f} s after `{phase}`")


def _short(child: Child, run_dir: Path, bench: Workbench, swap_mb: int) -> Failure | None:
    held, memory_limit = child.rss_bytes(), bench.memory_limit or int(0.9 * psutil.virtual_memory().total)
    if held > memory_limit:
        return Failure("memory", f"held {held / 2**30:.1f} GB of memory (limit {memory_limit / 2**30:.1f} GB)")
    written, files = run_folder.written(run_dir, bench.files_limit)
    if written > bench.folder_limit or files > bench.files_limit:
        allowed = f"{bench.folder_limit / 2**30:.1f} GB and {bench.files_limit} files"
        return Failure("disk", f"wrote {written / 2**30:.1f} GB in {files} files (limit {allowed})")
    free = shutil.disk_usage(bench.data).free
    if free < FREE_DISK:
        return Failure("machine", f"only {free / 2**20:.0f} MB of disk are left")
    swapped = bench.swap_mb() - swap_mb
    if swapped > SWAP_LIMIT_MB:
        return Failure("machine", f"the machine swapped {swapped / 1024:.1f} GB out during the run")
    return None


def _exited(child: Child, phase: str) -> Failure:
    code = child.returncode or 0
    number = -code if code < 0 else code - 128 if code > 128 else None  # bwrap reports signal n as 128 + n
    how = f"exited with {code}" if number is None else f"was killed by signal {number}"
    return Failure("exited", f"the process {how} after `{phase}`, without a result", child.log_end[-1500:])
