"""How is each hostile or broken candidate stopped, and in how many seconds?

    uv run python -m benchmarks.candidates > benchmarks/figures-candidates.md

Runs every file of testbed/candidates/ through the contract, and, as if the contract had let it pass, through the real
measurement: two children, a task of 64 tokens, a third of a second of training, the sandbox of this machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.errors import SandboxError
from autoresearch.measure import experiment
from autoresearch.records import Measurement
from autoresearch.system.sandbox import Sandbox, Unconfined, select
from autoresearch.tasks.gpt import contract
from autoresearch.tasks.gpt.workbench import openblas, snapshot
from testbed.toy import HONEST, ROOT, write_toy_data

FOLDER = HONEST.parent
FLOOR_BPB = 1.5  # the toy's text has log2(3) = 1.585 bits a byte: what scores less has not earned it
BUDGET_S = 0.3


@dataclass(frozen=True)
class Candidate:
    """A file of testbed/candidates/. Its docstring says what it tries, then what is expected, then what it needs."""

    name: str
    source: str
    tries: str
    by_contract: bool  # the contract must refuse it
    outcomes: frozenset[str]  # failure kinds, or "harmless", that may come of it where the contract is bypassed
    needs_sandbox: bool  # it could do real harm here without

    @classmethod
    def read(cls, path: Path) -> Candidate:
        source = path.read_text()
        tries, expected, *rest = source.split('"""')[1].strip().splitlines()
        words = expected.removeprefix("expect:").split()
        outcomes = frozenset(words) - {"contract"}
        return cls(path.stem, source, tries, "contract" in words, outcomes, "needs: sandbox" in rest[:1])


def read_all() -> list[Candidate]:
    return [Candidate.read(path) for path in sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*.txt")])]


def sandbox_here() -> Sandbox:
    try:
        return select()
    except SandboxError:
        return Unconfined()


class Bench:
    """A night's folder with a journal and another run's checkpoint in it, and runs of candidates beside them."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.runs, self.sandbox = folder / "runs", sandbox
        self.harness = snapshot(ROOT, folder)
        self.data = write_toy_data(folder / "cache" / "data" / "toy" / "tiny")
        blas = openblas() if sys.platform == "linux" else None
        self.bench = experiment.Workbench(
            harness=self.harness,
            data=self.data,
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
        )
        (self.runs / "0001").mkdir(parents=True)
        (self.runs / "journal.jsonl").write_text('{"event": "night"}\n')
        (self.runs / "0001" / "checkpoint.safetensors").write_bytes(b"another run's")
        self.before = self.state()

    def measure(self, candidate: Candidate) -> Measurement:
        home = self.runs / candidate.name
        home.mkdir()
        source = home / "train_mlx.py"
        source.write_text(candidate.source)
        return experiment.measure(self.limited(candidate), source, home / "run", seed=1)

    def limited(self, candidate: Candidate) -> experiment.Workbench:
        """Short limits for what hangs, long ones for the rest, so that a loaded machine changes no outcome."""
        hangs = candidate.outcomes & {"startup", "hang"}
        return replace(
            self.bench,
            startup_limit_s=2.0 if "startup" in hangs else 60.0,
            save_limit_s=1.0 if hangs else 60.0,
            evaluation_limit_s=1.0 if hangs else 60.0,
            min_steps=8 if "slow" in candidate.outcomes else 1,
        )

    def state(self) -> dict[str, bytes]:
        """Everything that no candidate may touch."""
        files = [p for p in self.data.rglob("*") if p.is_file()]
        files += [self.harness, *self.runs.glob("*.jsonl"), *self.runs.glob("0001/*")]
        return {str(p): p.read_bytes() for p in files}

    def touched(self, candidates: Sequence[Candidate]) -> list[str]:
        """What differs from the beginning: files changed, and sources of candidates changed."""
        now = self.state()
        changed = [p for p in self.before.keys() | now.keys() if self.before.get(p) != now.get(p)]
        sources = {c.name: self.runs / c.name / "train_mlx.py" for c in candidates}
        return changed + [c.name for c in candidates if sources[c.name].read_text() != c.source]


def outcome(m: Measurement) -> str:
    """A failure's kind; "harmless" for an honest number; "FOOLED" for one that nobody can have earned."""
    if m.failure is not None:
        return m.failure.kind
    assert m.val_bpb is not None
    return "harmless" if m.val_bpb >= FLOOR_BPB else "FOOLED"


def runnable(candidate: Candidate, sandbox: Sandbox) -> bool:
    """Whether to run it as if the contract had let it pass."""
    return bool(candidate.outcomes) and not (candidate.needs_sandbox and isinstance(sandbox, Unconfined))


@contextmanager
def measured(
    candidates: Sequence[Candidate], bench: Bench, workers: int = 3
) -> Iterator[dict[str, Future[Measurement]]]:
    """All candidates' measurements, a few at a time."""
    with ThreadPoolExecutor(workers) as pool:
        yield {c.name: pool.submit(bench.measure, c) for c in candidates if runnable(c, bench.sandbox)}
        pool.shutdown(cancel_futures=True)


def row(candidate: Candidate, m: Measurement | None, folder: str) -> str:
    refused = contract.check(candidate.source, HONEST.read_text())
    by_contract = refused[0].message if refused else "passes"
    said = f"**{m.failure.kind}** {m.failure.message}" if m and m.failure else "measured" if m else "not run"
    cells = [candidate.name, candidate.tries, short(by_contract, 70), short(said.replace(folder, ""), 90)]
    cells += [f"{m.val_bpb:.2f}" if m and m.val_bpb else "", f"{m.total_s:.1f}" if m else ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def short(text: str, length: int) -> str:
    text = re.sub(r"\s+", " ", text).replace("`", "")
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these candidates")
    args = parser.parse_args()
    sandbox = sandbox_here()
    candidates = [c for c in read_all() if not args.names or c.name in args.names]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), sandbox)
        with measured(candidates, bench) as results:
            rows = [row(c, results[c.name].result() if c.name in results else None, folder) for c in candidates]
        touched = bench.touched([c for c in candidates if c.name in results])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = (
        f"{usable} of {os.cpu_count()} cores ({platform.machine()}, Python {platform.python_version()}), {sandbox.name}"
    )
    print("# Hostile and broken candidates: how each is stopped\n\n`uv run python -m benchmarks.candidates`\n")
    print(f"{time.strftime('%Y-%m-%d')}: {len(candidates)} candidates, {BUDGET_S:g} s of training, on {machine}.")
    print("The contract meets a candidate first. What becomes of it where the contract is bypassed is the next column,")
    print("with the seconds from its start to the verdict.")
    print(f"A val_bpb below {FLOOR_BPB} cannot be earned on this task.")
    print(f"Touched outside of the candidates' own folders: {', '.join(touched) or 'nothing'}.\n")
    print("| candidate | tries | contract | contract bypassed | val_bpb | s |\n| --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    return 1 if touched else 0


if __name__ == "__main__":
    sys.exit(main())
