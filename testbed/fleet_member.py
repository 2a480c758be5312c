"""Be a member of a fleet on a task whose runs only wait, and log when each run begins and ends.

    python -m testbed.fleet_member ADDRESS FOLDER RUN_S

FOLDER gets log.txt: lines of "<time> <pid> begin|end <seed>". It is started again by `keep_joining`, as `loop.py join`
starts its member.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from autoresearch.candidate import constants
from autoresearch.fleet import address, member
from autoresearch.fleet.admission import Welcome
from autoresearch.records import Measurement, TaskFacts
from autoresearch.system import process
from autoresearch.system.process import Child
from autoresearch.tasks.task import RunOrder
from testbed.toy import ROOT

FACTS = TaskFacts(name="waiting", dataset="waiting", fingerprint="w0")
VERSIONS = {"python": "3.12.1", "harness": "h"}


class Waiting:
    """Task whose run is a child that waits. The score is the distance of WIDTH from 60, or else the seed."""

    def __init__(
        self, folder: Path, run_s: float, facts: TaskFacts = FACTS, versions: Mapping[str, str] = VERSIONS
    ) -> None:
        self.log, self.run_s, self.facts, self.versions = folder / "log.txt", run_s, facts, versions

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit nothing."""

    def measure(self, order: RunOrder, listen: Callable[[Any], None]) -> Measurement:
        script = f'echo "$(date +%s.%N) $$ begin {order.seed}" >> {self.log}; sleep {self.run_s}; '
        script += f'echo "$(date +%s.%N) $$ end {order.seed}" >> {self.log}'
        self._look_for_another()
        with Child(
            ["sh", "-c", script], cwd=self.log.parent, env=os.environ, log_path=self.log.parent / "run.log"
        ) as run:
            run.wait()
        return Measurement(order.seed, self._score(order), total_s=self.run_s)

    def _look_for_another(self) -> None:
        """Write a line of "two" where the run before still goes on."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        _, pid, what, _ = lines[-1].split() if lines else ("", "0", "end", "")
        if what == "begin" and psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != "zombie":
            with self.log.open("a") as file:
                file.write(f"{time.time():.3f} {pid} two 0\n")

    @staticmethod
    def _score(order: RunOrder) -> float:
        width = constants.read(order.source.read_text()).get("WIDTH")
        if width is None:
            return float(order.seed)
        return 2.0 + 0.02 * abs(int(width) - 60) + random.Random(order.seed).gauss(0, 0.01)


def keep_joining(
    where: address.FleetAddress, folder: Path, run_s: float, over: threading.Event, within: Sequence[str] = ()
) -> list[int]:
    """Start a member's process and start it again whenever it ends; return the list that its present pid is in.

    `within` is a command that it is started by, such as one that enters a network namespace.
    """
    pids: list[int] = []
    folder.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        while not over.is_set():
            argv = [*within, sys.executable, "-m", "testbed.fleet_member", str(where), str(folder), str(run_s)]
            with (folder / "said.txt").open("ab") as said:
                started = subprocess.Popen(argv, cwd=ROOT, stdout=said, stderr=said)
            pids[:] = [started.pid]
            while started.poll() is None and not over.wait(0.05):
                pass
            if started.poll() is None:
                started.send_signal(signal.SIGCONT)
                started.kill()
            code = started.wait()
            if code == member.DISMISSED:
                return

    threading.Thread(target=work, daemon=True).start()
    return pids


def main(line: str, folder: str, run_s: str) -> int:
    def open_task(welcome: Welcome) -> Any:
        return Waiting(Path(folder), float(run_s), welcome.task, welcome.versions)

    process.end_orphans()

    me = member.Member(Path(folder) / "runs", open_task, lambda text: print(text, flush=True), name=Path(folder).name)
    return member.serve(address.parse(line), me)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
