"""Be a member of a fleet on a task whose runs only wait, and log when each run begins and ends.

    python -m testbed.fleet_member ADDRESS FOLDER RUN_S

FOLDER gets log.txt: lines of "<time> <pid> begin|end <seed>". It is started again by `keep_joining`, as `loop.py join`
starts its member.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autoresearch.fleet import address, member
from autoresearch.fleet.admission import Welcome
from autoresearch.records import Measurement, TaskFacts
from autoresearch.tasks.task import RunOrder
from testbed.toy import ROOT

FACTS = TaskFacts(name="waiting", dataset="waiting", fingerprint="w0")
VERSIONS = {"python": "3.12.1", "harness": "h"}


class Waiting:
    """Task whose run waits and whose score is its seed."""

    facts, versions = FACTS, VERSIONS

    def __init__(self, folder: Path, run_s: float) -> None:
        self.log, self.run_s = folder / "log.txt", run_s

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit nothing."""

    def measure(self, order: RunOrder, listen: Callable[[Any], None]) -> Measurement:
        self._note("begin", order.seed)
        time.sleep(self.run_s)
        self._note("end", order.seed)
        return Measurement(order.seed, float(order.seed), total_s=self.run_s)

    def _note(self, what: str, seed: int) -> None:
        with self.log.open("a") as file:
            file.write(f"{time.time():.3f} {os.getpid()} {what} {seed}\n")


def keep_joining(where: address.Address, folder: Path, run_s: float, over: threading.Event) -> list[int]:
    """Start a member's process and start it again whenever it ends; return the list that its present pid is in."""
    pids: list[int] = []
    folder.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        while not over.is_set():
            argv = [sys.executable, "-m", "testbed.fleet_member", str(where), str(folder), str(run_s)]
            with (folder / "said.txt").open("ab") as said:
                process = subprocess.Popen(argv, cwd=ROOT, stdout=said, stderr=said)
            pids[:] = [process.pid]
            while process.poll() is None and not over.wait(0.05):
                pass
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            code = process.wait()
            if code == member.DISMISSED:
                return

    threading.Thread(target=work, daemon=True).start()
    return pids


def main(line: str, folder: str, run_s: str) -> int:
    def open_task(welcome: Welcome) -> Any:
        return Waiting(Path(folder), float(run_s))

    me = member.Member(Path(folder) / "runs", open_task, lambda text: print(text, flush=True), name=Path(folder).name)
    return member.serve(address.parse(line), me)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
