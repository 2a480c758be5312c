"""Set up a fleet on one machine: a coordinator and members as processes, which can be struck.

The coordinator is real (journal, branch, decisions, Dask's scheduler over TLS); a member's runs are processes that only
wait. Where this user is root on Linux each member has a network namespace, whose link is cut and healed and whose
address changes. Sleep is SIGSTOP. Clocks are set by a small library, where Linux has a C compiler.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from autoresearch.fleet import address
from autoresearch.fleet.address import FleetAddress
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.system import machine
from testbed.fleet_coordinator import ONE_GOOD_IN
from testbed.fleet_evidence import Training, read_trainings
from testbed.fleet_member import LOG, keep_joining
from testbed.starter import Starter
from testbed.toy import ROOT, make_repository, write_toy_data

TTL_S = 8.0  # short, since an incident comes every few seconds
LIMIT_S = 180.0  # for anything that is waited for
NET = f"10.{100 + os.getpid() % 100}"  # each member's link is a network of its own: NET.N.0/24


def ip(line: str, check: bool = True) -> None:
    subprocess.run(["ip", *line.split()], check=check, capture_output=True)


@dataclass
class Link:
    """A network namespace, and the link to it: NET.N.1 on the coordinator's side."""

    number: int
    addresses: int = 1  # that its member has had, the present one included

    def __post_init__(self) -> None:
        self.name, self.end = f"ar{os.getpid()}-{self.number}", f"ar{os.getpid() % 100000}h{self.number}"
        self.host = f"{NET}.{self.number}.1"
        ip(f"netns add {self.name}")
        ip(f"link add {self.end} type veth peer name there netns {self.name}")
        ip(f"addr add {self.host}/24 dev {self.end}")
        ip(f"link set {self.end} up")
        ip(f"-n {self.name} addr add {self.address}/24 dev there")
        ip(f"-n {self.name} link set there up")
        ip(f"-n {self.name} link set lo up")

    @property
    def address(self) -> str:
        return f"{NET}.{self.number}.{1 + self.addresses}"

    def set(self, state: str) -> None:
        """Cut the link ("down") or heal it ("up")."""
        ip(f"link set {self.end} {state}", check=False)

    def renumber(self) -> None:
        """Give the member another address in place of its present one, as another network does."""
        old, self.addresses = self.address, self.addresses % 200 + 1
        ip(f"-n {self.name} addr del {old}/24 dev there", check=False)
        ip(f"-n {self.name} addr add {self.address}/24 dev there", check=False)

    def close(self) -> None:
        ip(f"netns del {self.name}", check=False)


def can_cut() -> bool:
    """Return whether network namespaces can be made here."""
    name = f"ar{os.getpid()}-probe"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        ip(f"netns add {name}")
        ip(f"netns del {name}")
        return True
    return False


@dataclass
class WallClock:
    """The wall clock of one machine, which can be set; the monotonic one stays."""

    file: Path
    library: Path  # testbed/wall_clock.c, compiled

    def __post_init__(self) -> None:
        self.file.write_bytes(bytes(8))

    def set(self, ahead_s: int) -> None:
        with self.file.open("r+b") as file:
            file.write(struct.pack("q", ahead_s))

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to go by this clock."""
        return {"LD_PRELOAD": str(self.library), "WALL_CLOCK": str(self.file)}


def can_set() -> bool:
    """Return whether clocks can be set here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


@dataclass
class Mac:
    """A member, and what can be done to it."""

    folder: Path
    pids: list[int]  # its present process; none once it was dismissed
    link: Link | None
    clock: WallClock | None
    away: threading.Event
    until: float = 0.0  # by time.monotonic(): when the incident that it suffers has passed

    def send(self, number: signal.Signals) -> None:
        """Signal the member and its run, as a lid stops everything."""
        for pid in list(self.pids):
            send(pid, number)

    def training(self) -> Training | None:
        """Return the training that it makes at this moment."""
        for training in reversed(read_trainings([self.folder], LOG)):
            if training.score is None and is_training(training.pid, self.folder):
                return training
        return None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process and its descendants."""
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                each.send_signal(number)


def is_training(pid: int, folder: Path) -> bool:
    """Return whether a process lives that trains for the member in `folder`."""
    with contextlib.suppress(psutil.Error, OSError):
        return str(folder) in psutil.Process(pid).cmdline()
    return False


@dataclass
class Scene:
    """A coordinator in a repository of its own, and members that join it."""

    folder: Path
    run_s: float
    experiments: int
    linked: bool = False  # each member has a network namespace
    clocked: bool = False  # every clock can be set
    one_good_in: int = 1  # of the proposer's ideas
    over: threading.Event = field(default_factory=threading.Event)
    macs: list[Mac] = field(default_factory=list)
    key: str = field(default_factory=address.new_key)
    port: int = 0

    def __post_init__(self) -> None:
        write_toy_data(self.folder / "cache" / "data" / "toy" / "tiny")
        self.root = make_repository(self.folder / "repository")
        self.library = self.folder / "wall_clock.so"
        if self.clocked:
            built = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(ROOT / "testbed" / "wall_clock.c")]
            subprocess.run(built, check=True)
        self.clock = WallClock(self.folder / "clock", self.library) if self.clocked else None
        self.env = {"TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

        line = str(FleetAddress("0.0.0.0" if self.linked else "127.0.0.1", self.port, self.key))
        argv = [sys.executable, "-m", "testbed.fleet_coordinator", line, self.root, self.experiments, TTL_S]
        env = {**os.environ, **self.env, "AUTORESEARCH_CACHE": str(self.folder / "cache")}
        env |= self.clock.env if self.clock else {}
        env |= {ONE_GOOD_IN: str(self.one_good_in)}
        self.coordinator = Starter(argv, env)

    def join(self, number: int, within: Sequence[str] = (), more: Mapping[str, str] | None = None) -> None:
        """Let one more member join, by a link of its own where links can be cut.

        `within` is a command that it is started by, and `more` of its environment.
        """
        folder, away = self.folder / f"member{number}", threading.Event()
        folder.mkdir()
        link = Link(number) if self.linked else None
        clock = WallClock(folder / "clock", self.library) if self.clocked else None
        within = [*within, "ip", "netns", "exec", link.name] if link else within
        env = {**self.env, **(clock.env if clock else {}), **(more or {})}
        where = FleetAddress(link.host if link else "127.0.0.1", self.port, self.key)
        pids = keep_joining(where, folder, self.run_s, self.over, within, env, away, TTL_S)
        self.macs.append(Mac(folder, pids, link, clock, away))

    @property
    def layout(self) -> Layout:
        return Layout(self.root, f"fleet-{machine.facts().slug()}")

    def night(self) -> Night:
        return journal.read(self.layout)

    def journal(self) -> bytes:
        return self.layout.journal.read_bytes() if self.layout.journal.exists() else b""

    def trainings(self) -> list[Training]:
        return read_trainings([mac.folder for mac in self.macs], LOG)

    def said(self) -> str:
        """Return the last that the coordinator and the members said."""
        files = [self.folder / "said.txt", *(mac.folder / "said.txt" for mac in self.macs)]
        return "\n".join(f"--- {file}\n{file.read_text()[-2000:]}" for file in files if file.exists())

    def wait(self, reached: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        end = time.monotonic() + limit_s
        while not reached():
            assert time.monotonic() < end and not self.coordinator.ended(), f"waited in vain for {what}\n{self.said()}"
            time.sleep(0.2)

    def leftovers(self) -> list[str]:
        """Return what is left of the fleet after its end: processes of its own, and locks that are still held."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                argv = process.cmdline()
                if any(str(self.folder) in text for text in argv) and process.ppid() != os.getpid():
                    found.append(f"process {process.pid}: {' '.join(argv)[-200:]}")
        locks = [mac.folder / name for mac in self.macs for name in ("machine.lock", "training.lock")]
        return found + [f"lock: {lock}" for lock in locks if lock.exists() and is_held(lock)]

    def close(self) -> None:
        self.over.set()
        self.coordinator.close()
        time.sleep(0.5)
        for mac in self.macs:
            if (training := mac.training()) is not None:
                os.kill(training.pid, signal.SIGKILL)
            if mac.link is not None:
                mac.link.close()


def is_held(lock: Path) -> bool:
    """Return whether a process holds the lock of a file."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def scene(
    run_s: float, experiments: int, members: int, *, linked: bool = False, clocked: bool = False, one_good_in: int = 1
) -> Iterator[Scene]:
    """Yield a fleet of as many members; all of it is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="autoresearch-fleet-bench-"))
    made = Scene(folder, run_s, experiments, linked, clocked, one_good_in)
    try:
        made.coordinator.start()
        for number in range(members):
            made.join(number)
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
