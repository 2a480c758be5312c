"""Let machines join a class while and after it measures its baseline, one of which measures otherwise.

All members are real, on this machine. On the last one WIDTH is best at 40, not at 60, so that the baseline gives
another value there. Once each has its class the coordinator is killed and started again: nobody is compared again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.events import Placed
from benchmarks.cli import Row, parser, report
from benchmarks.fleet.scene import Scene, scene
from testbed import fleet_evidence as evidence

BEST_WIDTH = {"BEST_WIDTH": "40"}  # of the last; the others' is 60
MEMBERS = 4


def main(argv: Sequence[str]) -> int:
    """Let three machines join a class, one of which measures otherwise, and restart the coordinator."""
    p = parser("fleet newcomers", __doc__)
    p.add_argument("--run-s", type=float, default=2.0, metavar="S", help="of one run (2)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    run_s = 0.2 if args.quick else args.run_s
    with scene(run_s, 10**6, 1) as s:
        s.join(1)
        s.wait(lambda: s.night().decided, "the baseline")
        s.join(2)
        s.join(3, more=BEST_WIDTH)
        s.wait(lambda: len(placed(s)) == MEMBERS and own(s).exists(), "a class for each")
        before, compared = s.journal(), len(newcomers(s))
        s.coordinator.send(signal.SIGKILL)
        while not s.coordinator.ended(1.0):
            pass
        killed = time.monotonic()
        s.coordinator.start()
        s.wait(lambda: {t.member for t in s.trainings() if t.start > killed} == names(s), "a run of each member")
        again, faults = len(newcomers(s)) - compared, evidence.faults(before, s.journal(), s.trainings())
        rows = [_row(s, one) for one in placed(s)]
    facts = {"newcomers' runs": str(compared), "after the restart": str(again), "faults": str(len(faults))}
    code = report(rows, args, run=f"{run_s:g} s", **facts)
    print(*faults, sep="\n")
    return 1 if faults or again else code


def names(s: Scene) -> set[str]:
    return {mac.folder.name for mac in s.macs}


def placed(s: Scene) -> Sequence[Placed]:
    return s.night().placed


def newcomers(s: Scene) -> list[int]:
    """Return the runs by which members were compared."""
    return [run.run for x in s.night().experiments.values() for run in x.runs.values() if run.purpose == "newcomer"]


def own(s: Scene) -> Path:
    """Return the journal of the class that a member has for itself."""
    return Layout(s.root, f"{s.layout.tag}-member3").journal


def _row(s: Scene, one: Placed) -> Row:
    night = journal.read(Layout(s.root, f"fleet-{one.key}"))
    x = night.incumbent
    return {
        "member": one.member, "its class": "its own" if one.key.endswith(one.member) else "the first's",
        "since": one.why, "its class's incumbent": x.proposal.title if x and x.role == "candidate" else "the baseline",
    }  # fmt: skip
