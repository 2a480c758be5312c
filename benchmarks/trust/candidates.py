"""Run every hostile and broken candidate of testbed/hostile/ and print how each is stopped, and when.

Each meets the contract, and then, as if the contract had let it pass, the real measurement: all children, a task of 64
tokens, a third of a second of training, the sandbox of this machine. Ends with code 1 when a candidate touched
something outside its own folder, or ended otherwise than it may.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from autoresearch.records import Measurement
from autoresearch.tasks.gpt import contract
from benchmarks.cli import command_line, parser
from testbed.hostile import HostileCandidate, read_all
from testbed.hostile.bench import BUDGET_S, FLOOR_BPB, HostileBench, measured, outcome, sandbox_here
from testbed.toy import HONEST

QUICK = ("honest", "aborts", "looks_ahead", "hangs_at_import")


def row(candidate: HostileCandidate, refused: str, m: Measurement | None, folder: str) -> str:
    """Format a row of the table; `m` is None when the candidate was not run."""
    said = f"**{m.failure.kind}** {m.failure.message}" if m and m.failure else "measured" if m else "not run"
    cells = [candidate.kind, candidate.name, candidate.tries, short(refused or "passes", 70)]
    cells += [short(said.replace(folder, ""), 90)]
    cells += [f"{m.score:.2f}" if m and m.score else "", f"{m.total_s:.1f}" if m else ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def summary(
    candidates: Sequence[HostileCandidate], refused: Mapping[str, str], outcomes: Mapping[str, str]
) -> list[str]:
    """Format a row for each kind of candidate: how many, and how they ended."""
    rows = []
    for kind in sorted({c.kind for c in candidates}):
        of_kind = [c for c in candidates if c.kind == kind]
        ends = Counter(outcomes[c.name] for c in of_kind if c.name in outcomes)
        failed = sum(n for outcome, n in ends.items() if outcome not in ("harmless", "FOOLED"))
        counts = [len(of_kind), sum(bool(refused[c.name]) for c in of_kind), sum(ends.values()), failed]
        rows.append("| " + " | ".join(map(str, [kind, *counts, ends["harmless"], ends["FOOLED"]])) + " |")
    return rows


def short(text: str, length: int) -> str:
    """Cut a text for a cell, on one line and without backquotes."""
    text = re.sub(r"\s+", " ", text).replace("`", "")
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def main(argv: Sequence[str]) -> int:
    options = parser("trust candidates", __doc__)
    options.add_argument("names", nargs="*", help="only these candidates")
    args = options.parse_args(argv)
    sandbox, names = sandbox_here(), args.names or (QUICK if args.quick else ())
    candidates = [c for c in read_all() if not names or c.name in names]
    broken = {c.name: contract.check(c.source, HONEST.read_text()) for c in candidates}
    refused = {name: found[0].message if found else "" for name, found in broken.items()}
    with tempfile.TemporaryDirectory() as folder:
        bench = HostileBench(Path(folder), sandbox)
        with measured(candidates, bench) as results:
            runs = {name: result.result() for name, result in results.items()}
        touched = bench.touched([c for c in candidates if c.name in runs])
    outcomes = {name: outcome(m) for name, m in runs.items()}
    others = [c.name for c in candidates if c.name in outcomes and outcomes[c.name] not in c.outcomes]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = f"{usable} of {os.cpu_count()} cores ({platform.machine()}, Python {platform.python_version()})"
    print(f"# Hostile and broken candidates: how each is stopped\n\n`{command_line()}`\n")
    print(f"{date.today()}: {len(candidates)} candidates, {BUDGET_S:g} s of training, on {cores}, {sandbox.name}.")
    print("The contract meets a candidate first. What becomes of it when the contract is bypassed is the next column,")
    print("with the seconds from its start to the verdict.")
    print(f"A val_bpb below {FLOOR_BPB} cannot be earned on this task.")
    print(f"Touched outside the candidates' own folders: {', '.join(touched) or 'nothing'}.")
    print(f"Ended otherwise than testbed/hostile/ allows: {', '.join(others) or 'none'}.\n")
    print("| kind | candidates | refused by the contract | run without it | failed | harmless | unearned |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(summary(candidates, refused, outcomes)))
    print("\n| kind | candidate | tries | contract | contract bypassed | val_bpb | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row(c, refused[c.name], runs.get(c.name), folder) for c in candidates))
    return 1 if touched or others else 0
