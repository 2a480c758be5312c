"""Measure a fleet on one machine: what incidents cost, how many experiments members decide, how far that goes.

The coordinator is real (journal, branch, decisions, Dask's scheduler over TLS), and members are processes of their own
whose runs are children that only wait. Where this user is root on Linux each member has a network namespace, whose link
is cut and healed; elsewhere no link is cut. Sleep is SIGSTOP to a member and its run. No decided result may be lost or
changed, no run may count twice and no member may make two at once; otherwise `strikes` ends with an AssertionError.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from autoresearch.fleet import address
from autoresearch.fleet.address import FleetAddress
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.system import machine
from benchmarks.cli import parser, report, run_one
from testbed.fleet_member import keep_joining
from testbed.toy import ROOT, make_repository, write_toy_data

MEMBERS = 3
TTL_S = 5.0  # short, since a strike comes every few seconds
LIMIT_S = 180.0  # for anything that is waited for
Row = dict[str, Any]


# --- the scene --------------------------------------------------------------------------------------------------------


@dataclass
class Mac:
    """A member that is struck."""

    folder: Path
    pids: list[int]
    link: str | None  # the coordinator's end of its link
    until: float = 0.0  # when the strike that it suffers has passed

    def send(self, number: signal.Signals) -> None:
        """Signal the member and its run, as a lid stops everything."""
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(self.pids[0])
            for each in (process, *process.children(recursive=True)):
                each.send_signal(number)

    def runs(self) -> list[tuple[float, int, str, int]]:
        """Return what its log says: (time, pid, begin or end, seed)."""
        path = self.folder / "log.txt"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(float(t), int(pid), what, int(seed)) for t, pid, what, seed in lines]

    def open_seed(self) -> int | None:
        """Return the seed of the run that it makes now."""
        last = self.runs()[-1:]
        return last[0][3] if last and last[0][2] == "begin" else None


@dataclass
class Scene:
    """A coordinator in a repository of its own, and members that join it."""

    folder: Path
    run_s: float
    experiments: int
    linked: bool = False  # each member has a network namespace
    over: threading.Event = field(default_factory=threading.Event)
    macs: list[Mac] = field(default_factory=list)
    coordinator: subprocess.Popen[bytes] | None = None
    key: str = field(default_factory=address.new_key)
    port: int = 0
    decided: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_toy_data(self.folder / "cache" / "data" / "toy" / "tiny")
        self.root = make_repository(self.folder / "repository")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> None:
        """Start the coordinator, again where it was killed."""
        line = str(FleetAddress("0.0.0.0" if self.linked else "127.0.0.1", self.port, self.key))
        argv = [sys.executable, "-m", "testbed.fleet_coordinator", line, self.root, self.experiments, TTL_S]
        env = {**os.environ, "AUTORESEARCH_CACHE": str(self.folder / "cache")}
        with (self.folder / "said.txt").open("ab") as said:
            self.coordinator = subprocess.Popen(list(map(str, argv)), cwd=ROOT, env=env, stdout=said, stderr=said)

    def join(self, number: int) -> None:
        """Let one more member join, by a link of its own where links can be cut."""
        host, within, link = "127.0.0.1", list[str](), None
        if self.linked:
            name, link, host = f"ar{os.getpid()}-{number}", f"ar{os.getpid() % 100000}h{number}", f"10.77.{number}.1"
            lay_link(name, link, number)
            within = ["ip", "netns", "exec", name]
        folder = self.folder / f"member{number}"
        pids = keep_joining(FleetAddress(host, self.port, self.key), folder, self.run_s, self.over, within)
        self.macs.append(Mac(folder, pids, link))

    def night(self) -> Night:
        return journal.read(Layout(self.root, f"fleet-{machine.facts().slug()}"))

    def check(self) -> None:
        """Raise AssertionError where a decided result was lost or changed."""
        now = {x.n: f"{x.verdict} {x.estimate} {x.blob}" for x in self.night().decided}
        assert self.decided.items() <= now.items(), "a decided result was lost"
        self.decided = now

    def wait(self, reached: Callable[[], object], what: str) -> None:
        end = time.monotonic() + LIMIT_S
        while not reached():
            assert time.monotonic() < end, (
                f"waited in vain for {what}\n{(self.folder / 'said.txt').read_text()[-3000:]}"
            )
            time.sleep(0.2)

    def close(self) -> None:
        self.over.set()
        if self.coordinator is not None and self.coordinator.poll() is None:
            self.coordinator.kill()
            self.coordinator.wait()
        time.sleep(0.5)
        for number, mac in enumerate(self.macs):
            if mac.link is not None:
                subprocess.run(["ip", "netns", "del", f"ar{os.getpid()}-{number}"], check=False)


def lay_link(name: str, link: str, number: int) -> None:
    """Make a network namespace with a link to this one: 10.77.N.1 here, 10.77.N.2 there."""
    within = f"ip netns exec {name} ip"
    for line in (
        f"ip netns add {name}",
        f"ip link add {link} type veth peer name there netns {name}",
        f"ip addr add 10.77.{number}.1/24 dev {link}",
        f"ip link set {link} up",
        f"{within} addr add 10.77.{number}.2/24 dev there",
        f"{within} link set there up",
        f"{within} link set lo up",
    ):
        subprocess.run(line.split(), check=True, capture_output=True)


def can_cut() -> bool:
    """Return whether network namespaces can be made here."""
    name = f"ar{os.getpid()}-probe"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)
        return True
    return False


@contextlib.contextmanager
def scene(run_s: float, experiments: int, members: int, linked: bool) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="autoresearch-fleet-bench-"))
    made = Scene(folder, run_s, experiments, linked)
    try:
        made.start()
        for number in range(members):
            made.join(number)
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


# --- strikes ----------------------------------------------------------------------------------------------------------


def strikes(argv: Sequence[str]) -> int:
    """Strike three members and their coordinator at random instants."""
    p = parser("fleet strikes", __doc__)
    p.add_argument("--count", type=int, default=200, metavar="N", help="instants (200)")
    p.add_argument("--minutes", type=float, default=12.0, help="after which no more follow (12)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    count, run_s = (2, 0.3) if args.quick else (args.count, 2.0)
    rng, made, lost, linked = random.Random(0), Counter[str](), list[tuple[str, float, int, Mac]](), can_cut()
    with scene(run_s, 10**6, 1 if args.quick else MEMBERS, linked and not args.quick) as s:
        s.wait(lambda: s.night().decided, "the baseline")
        end = time.monotonic() + args.minutes * 60
        while sum(made.values()) < count and time.monotonic() < end:
            time.sleep(rng.uniform(0.3, 5.0))
            s.check()
            well = [mac for mac in s.macs if time.time() > mac.until]
            kinds = ["kill -9", "sleep"] + ["link"] * s.linked
            if rng.random() < 0.06 or not well:
                strike_coordinator(s, rng)
                made["coordinator killed and restarted"] += 1
            else:
                mac, kind = rng.choice(well), rng.choice(kinds)
                seed, t = mac.open_seed(), time.time()
                strike(mac, kind, rng)
                made[NAMES[kind]] += 1
                if seed is not None:
                    lost.append((NAMES[kind], t, seed, mac))
        decided = len(s.night().decided)
        s.wait(lambda: len(s.night().decided) > decided, "a decision after the last strike")
        s.check()
        night, logs = s.night(), [(mac, entry) for mac in s.macs for entry in mac.runs()]
    assert not any(what == "two" for _, (_, _, what, _) in logs), "a member made two runs at once"
    seeds = Counter(run.seed for x in night.experiments.values() for run in x.runs.values() if run.ended == "measured")
    assert max(seeds.values()) == 1, "a run was counted twice"
    rows = [_row(kind, times, lost, logs) for kind, times in made.items()]
    facts = {"decided": str(len(night.decided)), "links": "cut" if s.linked else "not cut"}
    return report(rows, args, instants=str(sum(made.values())), asserted=ASSERTED, **facts)


ASSERTED = "no decided result lost or changed, no run counted twice, no two runs at once on a member"
NAMES = {"kill -9": "member killed (kill -9)", "sleep": "member asleep (SIGSTOP)", "link": "link cut and healed"}


def strike(mac: Mac, kind: str, rng: random.Random) -> None:
    """Strike a member; what passes by itself does so up to three times the limit later."""
    lasts = rng.uniform(0.3, 3 * TTL_S)
    if kind == "kill -9":
        with contextlib.suppress(ProcessLookupError):
            os.kill(mac.pids[0], signal.SIGKILL)
        return
    mac.until = time.time() + lasts
    if kind == "sleep":
        mac.send(signal.SIGSTOP)
        threading.Timer(lasts, mac.send, [signal.SIGCONT]).start()
    else:
        set_link = ["ip", "link", "set", str(mac.link)]
        subprocess.run([*set_link, "down"], check=False)
        threading.Timer(lasts, subprocess.run, [[*set_link, "up"]], {"check": False}).start()


def strike_coordinator(s: Scene, rng: random.Random) -> None:
    assert s.coordinator is not None
    s.coordinator.kill()
    s.coordinator.wait()
    time.sleep(rng.uniform(0.0, 3.0))
    s.start()


def _row(kind: str, times: int, lost: Sequence[tuple[str, float, int, Mac]], logs: Sequence[tuple[Mac, Any]]) -> Row:
    """Return how often it struck, how many runs it made begin again, and after how many seconds on another member."""
    again, elsewhere = 0, []
    for _, t, seed, struck in (each for each in lost if each[0] == kind):
        later = sorted((begun, mac is not struck) for mac, (begun, _, what, s) in logs if what == "begin" and s == seed)
        if begins := [each for each in later if each[0] > t]:
            again += 1
            elsewhere += [begins[0][0] - t] if begins[0][1] else []
    median = statistics.median(elsewhere) if elsewhere else None
    return {
        "strike": kind, "times": times, "runs made again": again, "elsewhere after s, median": median,
        "longest": max(elsewhere, default=None),
    }  # fmt: skip


# --- experiments an hour ----------------------------------------------------------------------------------------------


def rate(argv: Sequence[str]) -> int:
    """Count the experiments that 1, 2 and 3 members decide in an hour."""
    p = parser("fleet rate", __doc__)
    p.add_argument("--minutes", type=float, default=2.0, help="for each number of members (2)")
    p.add_argument("--run-s", type=float, default=3.0, metavar="S", help="of one run (3)")
    p.add_argument("--json", type=Path)
    args = p.parse_args(argv)
    run_s, seconds = (0.1, 1.0) if args.quick else (args.run_s, args.minutes * 60)
    rows: list[Row] = []
    for members in (1,) if args.quick else (1, 2, 3):
        with scene(run_s, 10**6, members, linked=False) as s:
            s.wait(lambda s=s: s.night().decided, "the baseline")  # type: ignore[misc]
            time.sleep(seconds / 10)
            before, t = s.night(), time.monotonic()
            time.sleep(seconds)
            after, took_s = s.night(), time.monotonic() - t
        runs = sum(len(x.measurements) for x in after.experiments.values())
        runs -= sum(len(x.measurements) for x in before.experiments.values())
        stale = sum("was replaced by" in x.reason for x in after.decided)
        rows.append({
            "members": members, "decided an hour": 3600 * (len(after.decided) - len(before.decided)) / took_s,
            "runs an hour": 3600 * runs / took_s, "busy, %": 100 * runs * run_s / took_s / members,
            "decided": len(after.decided), "stale parents": stale,
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


def main(argv: Sequence[str]) -> int:
    return run_one("fleet", {"strikes": strikes, "rate": rate, "growth": growth}, argv)
