"""Let incidents come over a fleet at random instants, and judge it by what it leaves (testbed/fleet_evidence.py).

After each incident no decided result may be missing or changed, no run may count twice, each value must be one that a
member measured, and no member may have trained twice at once; decisions must go on, and at the end no process or lock
may be left. Otherwise it ends with code 1, and what was wrong is printed. Two hundred instants take a quarter of an
hour, in pieces: `fleet incidents --seed 1 --into FILE` makes one, `fleet incidents --of FILE...` prints them together.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

from benchmarks.cli import Row, parser, report
from benchmarks.fleet.scene import TTL_S, Mac, Scene, can_cut, can_set, scene, send
from testbed import fleet_evidence as evidence

MEMBERS = 3
RUN_S = 4.0
GAP_S = (0.3, 6.0)  # between two incidents
LIMITS_S = (2, 5, 10, 15, 30)  # of the distribution of the seconds until a struck run goes on
STANDSTILL_S = 180.0  # without a decision
BACK_S = 180.0  # after the last incident, in which each member makes a run again
GOODBYE_S = 90.0  # that members may take to leave once the night has ended
CLOCK_S = (-10800, -600, -30, 30, 600, 10800)  # by which a clock is set


@dataclass
class Incident:
    """What came over whom, and when."""

    kind: str
    t: float  # of time.monotonic()
    member: str | None = None  # None: the coordinator
    lasts_s: float = 0.0
    struck: list[str] = field(default_factory=list)  # the trainings that were being made on what it came over
    outcomes: list[evidence.Struck] = field(default_factory=list)
    decision_s: float | None = None  # until the next decision of the night


# --- one incident -----------------------------------------------------------------------------------------------------


def later(seconds: float, work: Callable[..., object], *given: object) -> None:
    timer = threading.Timer(seconds, work, given)
    timer.daemon = True
    timer.start()


def asleep(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    mac.send(signal.SIGSTOP)
    later(lasts_s, mac.send, signal.SIGCONT)


def killed(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    for pid in mac.pids:
        os.kill(pid, signal.SIGKILL)


def training_killed(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    if (training := mac.training()) is not None:
        os.kill(training.pid, signal.SIGKILL)


def leaves(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    """Leave as by Ctrl-C, which `loop.py join` passes on as SIGTERM, and join again later."""
    mac.away.set()
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in mac.pids:
            os.kill(pid, number)
    later(lasts_s, mac.away.clear)


def link_cut(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    assert mac.link is not None
    mac.link.set("down")
    later(lasts_s, mac.link.set, "up")


def address_changed(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    assert mac.link is not None
    mac.link.renumber()


def clock_set(mac: Mac, lasts_s: float, rng: random.Random) -> None:
    assert mac.clock is not None
    mac.clock.set(rng.choice(CLOCK_S))


Come = Callable[[Mac, float, random.Random], None]
MEMBER_KINDS: dict[str, tuple[Come, float, int]] = {  # with the longest that it lasts, in TTL_S, and its weight
    "member asleep (SIGSTOP), and awake again": (asleep, 1.5, 3),
    "member killed (kill -9)": (killed, 0.0, 3),
    "only its training killed (kill -9)": (training_killed, 0.0, 2),
    "member leaves (Ctrl-C), and joins again": (leaves, 1.0, 2),
    "link cut and healed": (link_cut, 1.5, 3),
    "address changed": (address_changed, 0.0, 1),
    "clock of a member set": (clock_set, 0.0, 1),
}
COORDINATOR_KINDS = ("coordinator killed and restarted", "coordinator asleep (SIGSTOP)", "clock of the coordinator set")
COORDINATOR_SHARE = 0.15


def come_over_member(s: Scene, rng: random.Random, well: Sequence[Mac]) -> Incident:
    mac, lacking = rng.choice(well), set[str]()
    lacking |= {"link cut and healed", "address changed"} if mac.link is None else set()
    lacking |= {"clock of a member set"} if mac.clock is None else set()
    kinds = [kind for kind in MEMBER_KINDS if kind not in lacking]
    (kind,) = rng.choices(kinds, [MEMBER_KINDS[kind][2] for kind in kinds])
    come, longest, _ = MEMBER_KINDS[kind]
    lasts_s = rng.uniform(0.3, longest * TTL_S) if longest else 0.0
    training = mac.training()
    made = Incident(kind, time.monotonic(), mac.folder.name, lasts_s, [training.uid] if training else [])
    mac.until = made.t + lasts_s
    with contextlib.suppress(ProcessLookupError):
        come(mac, lasts_s, rng)
    return made


def come_over_coordinator(s: Scene, rng: random.Random) -> Incident:
    kind = rng.choice(COORDINATOR_KINDS if s.clock else COORDINATOR_KINDS[:2])
    struck = [training.uid for mac in s.macs if (training := mac.training()) is not None]
    made = Incident(kind, time.monotonic(), struck=struck)
    if kind == COORDINATOR_KINDS[0]:
        s.coordinator.send(signal.SIGKILL)
        made.lasts_s = rng.uniform(0.0, 3.0)
        time.sleep(made.lasts_s)
        if s.coordinator.ended(GOODBYE_S):
            s.coordinator.start()
    elif kind == COORDINATOR_KINDS[1]:
        made.lasts_s = rng.uniform(0.3, 1.5 * TTL_S)
        send(s.coordinator.pid, signal.SIGSTOP)
        time.sleep(made.lasts_s)
        send(s.coordinator.pid, signal.SIGCONT)
    elif s.clock is not None:
        s.clock.set(rng.choice(CLOCK_S))
    return made


# --- a piece ----------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Look at a scene again and again, and keep what is wrong with it."""

    scene: Scene
    faults: list[str] = field(default_factory=list)
    before: bytes = b""
    decisions: list[float] = field(default_factory=list)  # when each was seen, by time.monotonic()

    def look(self) -> None:
        """Compare journal and records with what was known before."""
        after = self.scene.journal()
        self.faults += [f for f in evidence.faults(self.before, after, self.scene.trainings()) if f not in self.faults]
        self.before = after

    def count(self) -> None:
        """Note how many decisions there are by now; a standstill and an end of the coordinator by itself are faults."""
        decided = sum(event["type"] == "decided" for event in evidence.events(self.scene.journal()))
        now = time.monotonic()
        self.decisions += [now] * (decided - len(self.decisions))
        if now - self.decisions[-1] > STANDSTILL_S:
            self.faults.append(f"standstill: no decision for {STANDSTILL_S:.0f} s")
        if self.scene.coordinator.ended():
            self.faults.append(f"ended: the coordinator ended by itself with {self.scene.coordinator.code}")

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0 and not self.stuck:
            time.sleep(min(0.25, left_s))
            self.count()

    def settle(self) -> dict[str, float]:
        """Wait until every member has made a run, and one more decision has come; return each one's seconds."""
        began, decided, back = time.monotonic(), len(self.decisions), dict[str, float]()
        while (len(back) < len(self.scene.macs) or len(self.decisions) == decided) and not self.stuck:
            ended = {t.member: t.last for t in self.scene.trainings() if t.score is not None and t.start > began}
            back = {**{member: last - began for member, last in ended.items()}, **back}
            self.sleep(0.5)
            if time.monotonic() - began > BACK_S:
                missing = {mac.folder.name for mac in self.scene.macs} - back.keys()
                self.faults.append(f"absent: no run in {BACK_S:.0f} s by {', '.join(sorted(missing)) or 'any'}")
                break
        self.look()
        return back

    @property
    def stuck(self) -> bool:
        return any(fault.startswith(("standstill", "ended")) for fault in self.faults)


def piece(seed: int, count: int, minutes: float, *, quick: bool = False) -> Row:
    """Let incidents come over a fleet, and return them with what was found."""
    rng, linked, clocked = random.Random(seed), can_cut() and not quick, can_set() and not quick
    made = list[Incident]()
    began = time.monotonic()
    with scene(0.3 if quick else RUN_S, 10**6, 1 if quick else MEMBERS, linked=linked, clocked=clocked) as s:
        s.wait(lambda: b'"decided"' in s.journal(), "the baseline")
        watch, end = Watch(s, decisions=[time.monotonic()]), time.monotonic() + minutes * 60
        while len(made) < count and time.monotonic() < end and not watch.stuck:
            watch.sleep(rng.uniform(*GAP_S))
            watch.look()
            well = [mac for mac in s.macs if time.monotonic() > mac.until and mac.pids]
            at_top = rng.random() < COORDINATOR_SHARE or not well
            made.append(come_over_coordinator(s, rng) if at_top else come_over_member(s, rng, well))
            watch.look()
        watch.sleep(max(mac.until for mac in s.macs) - time.monotonic())
        back_s = watch.settle()
        _end(s, watch)
        journal, trainings = s.journal(), s.trainings()
        if watch.faults:
            kept = Path(tempfile.mkdtemp(prefix="autoresearch-fleet-faults-"))
            shutil.copytree(s.folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tmp", "*.sock"))
            print(f"kept in {kept}\n{s.said()}")
        folders = len(list((s.folder / "tmp").glob("autoresearch-*")))
    for incident in made:
        incident.outcomes = [evidence.goes_on(uid, incident.t, trainings, journal) for uid in incident.struck]
        after = [t for t in watch.decisions if t > incident.t]
        incident.decision_s = after[0] - incident.t if after else None
    read = evidence.events(journal)
    types = Counter(event["type"] for event in read)
    gaps = [b - a for a, b in zip(watch.decisions, watch.decisions[1:], strict=False)]
    return {
        "seed": seed, "incidents": [asdict(incident) for incident in made], "faults": watch.faults,
        "decided": types["decided"], "measured": types["measured"], "trainings": len(trainings),
        "verdicts": dict(Counter(event["verdict"] for event in read if event["type"] == "decided")),
        "refusals": evidence.refusals(journal), "quarantined": types["quarantined"], "folders left": folders,
        "longest gap_s": max(gaps, default=0.0), "back_s": back_s, "minutes": (time.monotonic() - began) / 60,
        "linked": linked, "clocked": clocked,
    }  # fmt: skip


def _end(s: Scene, watch: Watch) -> None:
    """End the night as Ctrl-C does; what is left of it then is a fault."""
    if s.coordinator.ended():
        return
    s.coordinator.send(signal.SIGINT)
    end = time.monotonic() + GOODBYE_S
    s.coordinator.ended(GOODBYE_S)
    while (left := s.leftovers()) and time.monotonic() < end:
        time.sleep(0.2)
    watch.faults += [f"left: {what}" for what in left]
    watch.look()
    journal = s.journal()
    watch.faults += [f"forgotten: experiment {n} was not resumed" for n in evidence.forgotten(journal)]
    watch.faults += [f"git: {problem}" for problem in uncommitted(s, journal)]


def uncommitted(s: Scene, journal: bytes) -> list[str]:
    """Return the decided candidates whose commit git does not have, and a last keep that the branch does not hold."""
    read, found, branch = evidence.events(journal), list[str](), f"autoresearch/{s.layout.tag}"
    commits = {event["n"]: event["commit"] for event in read if event["type"] == "committed"}
    candidates = {event["n"] for event in read if event["type"] == "proposed" and event["role"] == "candidate"}
    for n, verdict in ((event["n"], event["verdict"]) for event in read if event["type"] == "decided"):
        if n not in candidates:
            continue
        git = ["git", "-C", str(s.root)]
        if n not in commits or subprocess.run([*git, "cat-file", "-e", commits[n]], check=False).returncode:
            found.append(f"{n} has no commit")
        elif verdict == "keep":
            holds = subprocess.run([*git, "merge-base", "--is-ancestor", commits[n], branch], check=False)
            found += [f"{branch} does not hold the keep {n}"] if holds.returncode else []
    return found


# --- the table --------------------------------------------------------------------------------------------------------


def rows(pieces: Sequence[Row]) -> list[Row]:
    """Return a row for each kind of incident: how many, what became of the trainings that they struck, seconds."""
    by_kind: dict[str, list[Row]] = {kind: [] for kind in (*MEMBER_KINDS, *COORDINATOR_KINDS)}
    for found in pieces:
        for incident in found["incidents"]:
            by_kind[incident["kind"]].append(incident)
    every = list(chain.from_iterable(by_kind.values()))
    return [*(_row(kind, found) for kind, found in by_kind.items() if found), _row("all", every)]


def _row(kind: str, found: Sequence[Row]) -> Row:
    outcomes = [outcome for incident in found for outcome in incident["outcomes"]]
    how = Counter(outcome["how"] for outcome in outcomes)
    seconds = sorted(outcome["after_s"] for outcome in outcomes if outcome["after_s"] is not None)
    decisions = [incident["decision_s"] for incident in found if incident["decision_s"] is not None]
    return {
        "incident": kind, "times": len(found), "runs struck": len(outcomes), "went on by itself": how["by itself"],
        "made again there": how["again"], "elsewhere": how["elsewhere"],
        "needed no more": how["settled"] + how["open"],
        "s, median": statistics.median(seconds) if seconds else None, "longest": max(seconds, default=None),
        "next decision after s, longest": max(decisions, default=None),
    }  # fmt: skip


def distribution(pieces: Sequence[Row]) -> str:
    """Return in how many seconds the struck runs were made again: "12 within 2 s, 30 within 5 s, ..."."""
    outcomes = [o for found in pieces for incident in found["incidents"] for o in incident["outcomes"]]
    seconds = [outcome["after_s"] for outcome in outcomes if outcome["after_s"] is not None]
    within = [f"{sum(s <= limit for s in seconds)} within {limit} s" for limit in LIMITS_S]
    return f"{', '.join(within)}, {len(seconds)} in all"


KINDS_OF_FAULTS = (
    "lost",
    "twice",
    "unmeasured",
    "value",
    "overlap",
    "standstill",
    "absent",
    "ended",
    "left",
    "forgotten",
    "git",
)


def main(argv: Sequence[str]) -> int:
    """Let incidents come over three members and their coordinator at random instants."""
    p = parser("fleet incidents", __doc__)
    p.add_argument("--count", type=int, default=40, metavar="N", help="instants (40)")
    p.add_argument("--minutes", type=float, default=2.5, help="after which no more follow (2.5)")
    p.add_argument("--seed", type=int, default=0, help="of the instants and kinds (0)")
    p.add_argument("--into", type=Path, metavar="FILE", help="keep this piece, for --of")
    p.add_argument("--of", type=Path, nargs="+", metavar="FILE", help="print the table of these pieces together")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    if args.of:
        pieces = [json.loads(path.read_text()) for path in args.of]
    else:
        pieces = [piece(args.seed, 3 if args.quick else args.count, args.minutes, quick=args.quick)]
    if args.into:
        args.into.write_text(json.dumps(pieces[0]))
    faults = [fault for found in pieces for fault in found["faults"]]
    kinds = Counter(fault.partition(":")[0] for fault in faults)
    total = {name: sum(found[name] for found in pieces) for name in ("decided", "measured", "trainings", "quarantined")}
    facts = {
        "instants": str(sum(len(found["incidents"]) for found in pieces)),
        **{name.replace("_", " "): str(number) for name, number in total.items()},
        "taken for unable": str(sum(len(found["refusals"]) for found in pieces)),
        "faults": ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS_OF_FAULTS),
        "made again": distribution(pieces),
        "longest without a decision": f"{max(found['longest gap_s'] for found in pieces):.1f} s",
        "folders left": str(sum(found["folders left"] for found in pieces)),
        "links": "cut" if all(found["linked"] for found in pieces) else "not cut",
        "minutes": f"{sum(found['minutes'] for found in pieces):.1f}",
    }
    code = report(rows(pieces), args, **facts)
    print(*faults, sep="\n")
    return 1 if faults else code
