"""Let two kinds of machines research one question, and show what each keeps and what travels between them.

Both members are real, on this machine. The second may use one processor only, so that it is a class of its own; the
best value differs between the two, as it does between a large and a small Mac.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from benchmarks.cli import Row, parser, report
from benchmarks.fleet.scene import Scene, scene

SLOW = ("taskset", "-c", "0")
BEST_WIDTH = {"BEST_WIDTH": "40"}  # of the slow one; the other's is 60


def classes(argv: Sequence[str]) -> int:
    """Run a night of two classes and print each one's incumbent, what travelled and its verdicts."""
    p = parser("fleet classes", __doc__)
    p.add_argument("--experiments", type=int, default=40, metavar="N", help="decided by both (40)")
    p.add_argument("--run-s", type=float, default=1.0, metavar="S", help="of one run (1)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    if shutil.which(SLOW[0]) is None or (os.cpu_count() or 1) < 2:
        print("not run: it takes Linux's taskset and two processors")
        return 0
    run_s, experiments = (0.05, 4) if args.quick else (args.run_s, args.experiments)
    with scene(run_s, 10**6, 1) as s:
        s.join(1, within=SLOW, more=BEST_WIDTH)
        s.wait(lambda: len(nights(s)) == 2 and done(s) >= experiments, "the decisions of both classes", limit_s=900.0)
        found = nights(s)
    rows = [_incumbent(night) for night in found] + [row for night in found for row in _travelled(night)]
    return report(rows, args, run=f"{run_s:g} s")


def nights(s: Scene) -> list[Night]:
    """Return the classes' nights that have decided something."""
    tags = sorted(folder.name for folder in (s.root / "runs").glob("fleet-*"))
    return [night for tag in tags if (night := journal.read(Layout(s.root, tag))).decided]


def done(s: Scene) -> int:
    return sum(x.role == "candidate" for night in nights(s) for x in night.decided)


def _incumbent(night: Night) -> Row:
    """Return what a class kept at the end of its night."""
    best, baseline = night.incumbent, night.experiments[0]
    assert best is not None
    candidates = [x for x in night.decided if x.role == "candidate"]
    return {
        "class": night.tag.removeprefix("fleet-"), "decided": len(candidates),
        "kept": sum(x.verdict == "keep" for x in candidates), "baseline": baseline.estimate,
        "incumbent": best.proposal.title, "its value": best.estimate,
        "tried from the other": sum(x.proposal.origin is not None for x in candidates),
    }  # fmt: skip


def _travelled(night: Night) -> list[Row]:
    """Return what became of the other class's keeps."""
    return [
        {
            "travelled to": night.tag.removeprefix("fleet-"), "idea": x.proposal.title,
            "from": x.proposal.proposer.removeprefix("fleet:"), "verdict": x.verdict,
        }
        for x in night.decided if x.proposal.origin is not None
    ]  # fmt: skip
