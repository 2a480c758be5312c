"""How is each hostile or broken candidate stopped, and in how many seconds?

    uv run python -m benchmarks.candidates > benchmarks/figures/candidates.md

Runs every candidate of testbed/hostile/ through the contract, and, as if the contract had let it pass, through the real
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
from pathlib import Path

from autoresearch.records import Measurement
from autoresearch.tasks.gpt import contract
from testbed.hostile import Candidate, read_all
from testbed.hostile.bench import BUDGET_S, FLOOR_BPB, Bench, measured, sandbox_here
from testbed.toy import HONEST


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
