"""Measure how many experiments the members of a fleet decide: 1 to 3 on one machine, and up to 16 simulated ones."""

from __future__ import annotations

import heapq
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cli import Row, parser, report
from benchmarks.fleet.scene import scene

# --- experiments an hour ----------------------------------------------------------------------------------------------


def rate(argv: Sequence[str]) -> int:
    """Count the experiments that 1, 2 and 3 members decide in an hour."""
    p = parser("fleet rate", __doc__)
    p.add_argument("--minutes", type=float, default=2.0, help="for each number of members (2)")
    p.add_argument("--run-s", type=float, default=3.0, metavar="S", help="of one run (3)")
    p.add_argument("--one-good-in", type=int, default=1, metavar="N", help="ideas; 1: all that are near (1)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    run_s, seconds = (0.1, 1.0) if args.quick else (args.run_s, args.minutes * 60)
    rows: list[Row] = []
    for members in (1,) if args.quick else (1, 2, 3):
        with scene(run_s, 10**6, members, one_good_in=args.one_good_in) as s:
            s.wait(lambda s=s: s.night().decided, "the baseline")  # type: ignore[misc]
            time.sleep(seconds / 10)
            before, t = s.night(), time.monotonic()
            time.sleep(seconds)
            after, took_s = s.night(), time.monotonic() - t
        runs = sum(len(x.measurements) for x in after.experiments.values())
        runs -= sum(len(x.measurements) for x in before.experiments.values())
        new = [x for x in after.decided if x.n not in {x.n for x in before.decided}]
        stale = sum("was replaced by" in x.reason for x in new)
        gains = [x.delta_score or 0.0 for x in new if x.verdict == "keep"]
        rows.append({
            "members": members, "decided an hour": 3600 * len(new) / took_s,
            "runs an hour": 3600 * runs / took_s, "busy, %": 100 * runs * run_s / took_s / members,
            "decided": len(new), "stale": stale, "useful an hour": 3600 * (len(new) - stale) / took_s,
            "kept": len(gains), "gain an hour": 3600 * sum(gains) / took_s,
        })  # fmt: skip
    return report(rows, args, run=f"{run_s:g} s")


# --- the curve --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """What a simulated night of equal members came to."""

    decided: int
    stale: int
    busy: float  # share of the members' time in runs


def grow(members: int, idea_s: float, run_s: float, hours: float, rng: random.Random) -> Curve:
    """Simulate a line of research: one proposer serves the members in turn, and a keep makes what runs beside it stale.

    The share of ideas that look good falls as a night goes on: 1 of 8 at first, 1 of 40 after 100; a keep takes two
    runs, each other candidate one. A stale candidate that looked good is tried again, as the loop does it.
    """
    end, proposer, keeps, busy = hours * 3600, 0.0, 0, 0.0
    counts = Counter[str]()
    queue = [(0.0, i, -1, False) for i in range(members)]  # free at, member, keeps at its proposal, looks good
    heapq.heapify(queue)
    again = 0  # ideas that wait to be tried on the new incumbent
    while queue and queue[0][0] < end:
        t, i, then, good = heapq.heappop(queue)
        if then >= 0:
            counts["decided"] += 1
            if good and then != keeps:
                counts["stale"] += 1
                again += 1
            keeps += good and then == keeps
        if again:
            again, begins, good = again - 1, t, rng.random() < 0.5
        else:
            begins = proposer = max(t, proposer) + idea_s
            good = rng.random() < max(1 / 40, 1 / (8 + 0.32 * counts["decided"]))
        took_s = run_s * (2 if good else 1)
        busy += took_s
        heapq.heappush(queue, (begins + took_s, i, keeps, good))
    return Curve(counts["decided"], counts["stale"], min(1.0, busy / (end * members)))


def growth(argv: Sequence[str]) -> int:
    """Simulate the experiments that up to 16 equal members decide, and the share wasted on stale parents."""
    p = parser("fleet growth", __doc__)
    p.add_argument("--run-s", type=float, default=330.0, metavar="S", help="of one run, with its scoring (330)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    nights = 20 if args.quick else 2000
    rows: list[Row] = []
    for who, idea_s in (("tuner", 0.1), ("model", 20.0)):
        for members in (1, 2, 3, 4, 6, 8, 12, 16):
            found = [grow(members, idea_s, args.run_s, 8.0, random.Random(seed)) for seed in range(nights)]
            decided, stale = (statistics.fmean(getattr(c, name) for c in found) for name in ("decided", "stale"))
            rows.append({
                "proposer": who, "s an idea": idea_s, "members": members, "decided in 8 hours": decided,
                "busy, %": 100 * statistics.fmean(c.busy for c in found), "stale, %": 100 * stale / decided,
            })  # fmt: skip
    return report(rows, args, nights=str(nights))
