"""What the trainer's benchmarks share: the trainer with constants set, timing, tables, JSON, and the comparison of two.

uv run benchmarks/common.py OLD.json NEW.json      what changed between two files that one benchmark wrote
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

import prepare
from autoresearch.candidate.constants import assign
from autoresearch.system import machine, process
from autoresearch.tasks.gpt.data.profiles import TINY
from autoresearch.tasks.gpt.workbench import children_environment

ROOT = Path(__file__).resolve().parent.parent
Row = Mapping[str, Any]
TINY_CONSTANTS = {"DEPTH": 4, "ASPECT_RATIO": 32, "HEAD_DIM": 64, "TOTAL_BATCH_SIZE": 4096, "DEVICE_BATCH_SIZE": 16}
REFERENCE_CONSTANTS = {**TINY_CONSTANTS, "BIGRAM_ROWS": 0}  # the reference setup has no bigrams
MIB = 2**20
ENVIRONMENT = children_environment(lambda line: None)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; starts anew in the environment of the loop's children."""
    if "AUTORESEARCH_BENCHMARK" not in os.environ:
        env = {"AUTORESEARCH_BENCHMARK": "1", **ENVIRONMENT, **os.environ}
        os.execve(sys.executable, sys.orig_argv, env)
    parser = argparse.ArgumentParser(description=(doc or " ").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions: seconds, not minutes")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser


def trainer(edits: Sequence[tuple[str, str]] = (), **constants: Any) -> ModuleType:
    """train_mlx.py with constants set, and with each (old, new) text replaced where it stands once."""
    source = (ROOT / "train_mlx.py").read_text()
    for name, value in constants.items():
        source = assign(source, name, repr(value))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"train_mlx.py has {source.count(old)} places that read {old!r}, not one")
        source = source.replace(old, new)
    module = ModuleType("train_mlx")
    exec(compile(source, str(ROOT / "train_mlx.py"), "exec", dont_inherit=True), module.__dict__)
    return module


def toy_task(
    seq_len: int = TINY.seq_len, vocab_size: int = TINY.vocab_size, eval_rows: int = TINY.eval_rows
) -> prepare.Task:
    """A task of random tokens: for what costs the same whatever the text says."""
    return prepare.Task("random", "tiny", "0" * 16, seq_len, vocab_size, vocab_size - 4, 65536, eval_rows, 60.0)


def random_batch(task: prepare.Task, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
    shape = (2, rows, seq_len or task.seq_len)
    x, y = mx.array(np.random.default_rng(0).integers(0, task.vocab_size, shape, dtype=np.int32))
    return x, y


def measure(makers: Mapping[str, Callable[[], Callable[[], Any]]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds, seconds of processor and peak MiB of each call; a maker builds a call, which returns arrays to evaluate.

    Peaks are of a call alone in memory. Seconds are the least of the repeats, taken in turns, since other work on the
    machine only adds to them.
    """
    found = {name: {"peak_mib": peak_mib(make)} for name, make in makers.items()}
    calls = {name: warmed(make) for name, make in makers.items()}
    for _ in range(repeats):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            mx.eval(call())
            seconds = {"s": time.perf_counter() - start, "cpu_s": time.process_time() - used}
            found[name] |= {key: min(value, found[name].get(key, value)) for key, value in seconds.items()}
    return found


def warmed(make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    call = make()
    mx.eval(call())
    mx.eval(call())
    return call


def peak_mib(make: Callable[[], Callable[[], Any]]) -> float:
    before = mx.get_active_memory()
    call = warmed(make)
    mx.reset_peak_memory()
    mx.eval(call())
    mx.eval(call())
    return (mx.get_peak_memory() - before) / MIB


def primitives(arrays: Any) -> int:
    """Operations that evaluating these arrays takes: the nodes of their graph, a compiled group counting as one."""
    graph = io.StringIO()
    mx.export_to_dot(graph, *(a for _, a in tree_flatten(arrays)))
    return graph.getvalue().count("[label =")


# --- reports ----------------------------------------------------------------------------------------------------------


def setting() -> dict[str, str]:
    """Machine, versions, date and command: what a number needs to be read later."""
    facts = machine.facts()
    return {
        "machine": facts.describe(),
        "mlx": f"{mx.__version__} on {mx.default_device().type.name}",
        "environment": " ".join(f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ),
        "load": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end",
        "date": str(date.today()),
        "source": process.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=False).stdout.strip(),
        "command": f"uv run {shlex.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])}",
    }


def cell(value: Any) -> str:
    """Four significant digits at most: 1234.5678 -> "1235", 0.123456 -> "0.1235"."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of the rows; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([cell(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(rows: Sequence[Row], args: argparse.Namespace) -> int:
    """Prints the rows as a table with the setting, and writes them as JSON where asked to. Returns 0, an exit code."""
    found = setting()
    print("\n".join(f"{key}: {value}" for key, value in found.items()), end="\n\n")
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"benchmark": Path(sys.argv[0]).stem, **found, "rows": list(rows)}, indent=1))
    return 0


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each number of the rows that both files have, matched by their texts and whole numbers.

    compare({"rows": [{"T": 256, "s": 2.0}]}, {"rows": [{"T": 256, "s": 1.0}]})
      -> [{"row": "T=256", "number": "s", "old": 2.0, "new": 1.0, "new/old": 0.5}]
    """
    if old.get("benchmark") != new.get("benchmark"):
        raise ValueError(f"these are two benchmarks: {old.get('benchmark')} and {new.get('benchmark')}")

    def keyed(rows: Sequence[Row]) -> dict[str, Row]:
        return {" ".join(f"{k}={v}" for k, v in row.items() if not isinstance(v, float)): row for row in rows}

    found, before = [], keyed(old["rows"])
    for key, row in keyed(new["rows"]).items():
        for name, value in row.items():
            was = before.get(key, {}).get(name)
            if isinstance(value, float) and isinstance(was, float):
                found.append(
                    {"row": key, "number": name, "old": was, "new": value, "new/old": value / was if was else None}
                )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares two JSON files of one benchmark.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    args = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (args.old, args.new))
    for name, found in (("old", old), ("new", new)):
        print(f"{name}: {found['machine']}, {found['date']}, {found['command']}")
    print(f"\n{table(compare(old, new))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
