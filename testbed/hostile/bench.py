"""Measure candidates as if the contract had let them pass, beside files that none of them may touch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from autoresearch.errors import SandboxError
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.records import Measurement
from autoresearch.system.sandbox import Sandbox, Unconfined, select
from autoresearch.tasks.gpt.workbench import openblas, snapshot
from testbed.hostile import HostileCandidate
from testbed.toy import ROOT, write_toy_data

FLOOR_BPB = 1.5  # the toy's text has log2(3) = 1.585 bits a byte, so a lower score is a cheat's
BUDGET_S = 0.3
STALLS = {"late", "overrun", "startup", "hang", "slow"}  # failures that a machine can cause by being busy


def sandbox_here() -> Sandbox:
    try:
        return select()
    except SandboxError:
        return Unconfined()


class HostileBench:
    """A night's folder with a journal and another run's checkpoint in it, and runs of candidates beside them."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.runs, self.sandbox = folder / "runs", sandbox
        self.harness = snapshot(ROOT, folder)
        self.data = write_toy_data(folder / "cache" / "data" / "toy" / "tiny")
        blas = openblas() if sys.platform == "linux" else None
        self.bench = Workbench(
            harness=self.harness,
            data=DataFolder(self.data),
            budget_s=BUDGET_S,
            sandbox=sandbox,
            hide=(self.runs,),
            env={
                "MLX_DISABLE_COMPILE": "1",
                "OPENBLAS_NUM_THREADS": "1",
                **({"LD_PRELOAD": str(blas)} if blas else {}),
            },
            memory_limit=600 * 2**20,
            file_limit=2**27,
            folder_limit=2**28,
            files_limit=1000,
            overtime_s=30.0,
            free_build_s=60.0,
        )
        (self.runs / "0001").mkdir(parents=True)
        (self.runs / "journal.jsonl").write_text('{"event": "night"}\n')
        (self.runs / "0001" / "checkpoint.safetensors").write_bytes(b"another run's")
        self.before = self.state()

    def measure(self, candidate: HostileCandidate) -> Measurement:
        """Measure a candidate; again where it only stalled, as anything does on a machine that stalls."""
        home = self.runs / candidate.name
        home.mkdir()
        source = home / "train_mlx.py"
        source.write_text(candidate.source, "utf-8")
        for attempt in ("run", "again", "once_more"):
            m = experiment.measure(self.limited(candidate), source, home / attempt, seed=1)
            if outcome(m) not in STALLS - candidate.outcomes:
                break
        return m

    def limited(self, candidate: HostileCandidate) -> Workbench:
        """Set short limits for what breaks them and long ones for the rest: a loaded machine changes no outcome."""
        hangs = candidate.outcomes & {"startup", "hang"}
        return replace(
            self.bench,
            startup_limit_s=2.0 if "startup" in hangs else 60.0,
            save_limit_s=1.0 if hangs else 60.0,
            evaluation_limit_s=1.0 if hangs else 60.0,
            min_steps=8 if "slow" in candidate.outcomes else 1,
            overtime_s=0.25 if candidate.outcomes & {"late", "overrun"} else self.bench.overtime_s,
            free_build_s=0.1 if "build" in candidate.outcomes else self.bench.free_build_s,
        )

    def state(self) -> dict[str, bytes]:
        """Return the contents of everything that no candidate may touch."""
        files = [p for p in self.data.rglob("*") if p.is_file()]
        files += [*self.harness, *self.runs.glob("*.jsonl"), *self.runs.glob("0001/*")]
        return {str(p): p.read_bytes() for p in files}

    def touched(self, candidates: Sequence[HostileCandidate]) -> list[str]:
        """List what differs from the beginning: files, and sources of candidates."""
        now = self.state()
        changed = [p for p in self.before.keys() | now.keys() if self.before.get(p) != now.get(p)]
        sources = {c.name: self.runs / c.name / "train_mlx.py" for c in candidates}
        return changed + [c.name for c in candidates if sources[c.name].read_text() != c.source]


def outcome(m: Measurement) -> str:
    """Return the failure's kind, "harmless" for an honest number, or "FOOLED" for one that nobody can have earned."""
    if m.failure is not None:
        return m.failure.kind
    assert m.score is not None
    return "harmless" if m.score >= FLOOR_BPB else "FOOLED"


def runnable(candidate: HostileCandidate, sandbox: Sandbox) -> bool:
    """Return whether the candidate may run here as if the contract had let it pass."""
    if candidate.needs_linux and sys.platform != "linux":
        return False
    return bool(candidate.outcomes) and not (candidate.needs_sandbox and isinstance(sandbox, Unconfined))


@contextmanager
def measured(
    candidates: Sequence[HostileCandidate], bench: HostileBench, workers: int = 3
) -> Iterator[dict[str, Future[Measurement]]]:
    """Measure all candidates, a few at a time, and yield their results to come by name."""
    with ThreadPoolExecutor(workers) as pool:
        yield {c.name: pool.submit(bench.measure, c) for c in candidates if runnable(c, bench.sandbox)}
        pool.shutdown(cancel_futures=True)
