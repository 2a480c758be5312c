"""Be a member of a fleet on a task whose runs only wait, each of which keeps a record of its own.

    python -m testbed.fleet_member ADDRESS FOLDER RUN_S TTL_S

FOLDER gets trainings.jsonl (testbed/fleet_training.py). The process is started again by `keep_joining`; it locks its
machine, ends orphans and takes signals as `loop.py join` does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from autoresearch.candidate import constants
from autoresearch.fleet import address, member, transport
from autoresearch.fleet.admission import Welcome
from autoresearch.records import Failure, Measurement, TaskFacts
from autoresearch.system import process
from autoresearch.system.exits import exit_code
from autoresearch.system.locks import hold
from autoresearch.system.process import Child
from autoresearch.tasks.task import RunOrder
from testbed.starter import ALONE, Starter, serve
from testbed.toy import ROOT

FACTS = TaskFacts(name="waiting", dataset="waiting", fingerprint="w0")
VERSIONS = {"python": "3.12.1", "harness": "h"}
TRAINING = ROOT / "testbed" / "fleet_training.py"
LOG = "trainings.jsonl"


class Waiting:
    """Task whose run is a child that waits. The score is the distance of WIDTH from 60, or else the seed."""

    def __init__(
        self, folder: Path, run_s: float, facts: TaskFacts = FACTS, versions: Mapping[str, str] = VERSIONS
    ) -> None:
        self.folder, self.run_s, self.facts, self.versions = folder, run_s, facts, versions

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit nothing."""

    def measure(self, order: RunOrder, listen: Callable[[Any], None]) -> Measurement:
        width = constants.read(order.source.read_text()).get("WIDTH")
        result = order.folder.with_name("result")
        given = [self.folder, order.folder.parent.name, order.seed, order.purpose, width or 0, self.run_s, result]
        argv = [sys.executable, "-I", "-S", TRAINING, *map(str, given)]
        with Child(argv, cwd=self.folder, env=os.environ, log_path=self.folder / "run.log") as run:
            code = run.wait()
        if code or not result.exists():
            return Measurement(order.seed, failure=Failure("exited", f"the training exited with {code}"))
        score = float(order.seed) if width is None else float(result.read_text())
        return Measurement(order.seed, score, total_s=self.run_s)

    def score_again(self, order: RunOrder, run: int) -> None:
        """Know no other way to score."""


def keep_joining(
    where: address.FleetAddress,
    folder: Path,
    run_s: float,
    over: threading.Event,
    within: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    away: threading.Event | None = None,
    ttl_s: float = transport.TTL_S,
) -> list[int]:
    """Start a member's process and start it again whenever it ends; return the list that its present pid is in.

    `within` is a command that it is started by, such as one that enters a network namespace. While `away` is set it is
    not started again. The list is empty once the member was dismissed.
    """
    pids: list[int] = []
    folder.mkdir(parents=True, exist_ok=True)
    argv = [*within, sys.executable, "-m", "testbed.fleet_member", where, folder, run_s, ttl_s]

    def work() -> None:
        starter = Starter(argv, {**os.environ, **(env or {})})
        while not over.is_set():
            if away is not None and away.is_set():
                over.wait(0.05)
                continue
            pids[:] = [starter.start()]
            while not starter.ended(0.05) and not over.is_set():
                pass
            if starter.ended() and starter.code == member.DISMISSED:
                pids.clear()
                break
        starter.close()

    threading.Thread(target=work, daemon=True).start()
    return pids


def main(line: str, folder: str, run_s: str, ttl_s: str) -> NoReturn:
    where, home = address.parse(line), Path(folder)

    def open_task(welcome: Welcome) -> Any:
        return Waiting(home, float(run_s), welcome.task, welcome.versions)

    def terminated(*_: object) -> None:
        raise KeyboardInterrupt("terminated")

    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with hold(home / "machine.lock", "this machine"):
        process.end_orphans()
        say: Callable[[str], object] = lambda text: print(text, flush=True)  # noqa: E731
        me = member.Member(home / "runs", open_task, say, home.name, home.name, ttl_s=float(ttl_s))
        me.receive = partial(member.lacking, say=say)
        member.serve(where, me)


def program(*given: str) -> int:
    return exit_code(lambda: main(*given), "stopped")


if __name__ == "__main__":
    import distributed  # noqa: F401 - here, before a fork

    if sys.argv[-1] == ALONE:
        raise SystemExit(program(*sys.argv[1:-1]))
    raise SystemExit(serve(lambda: program(*sys.argv[1:]), Path(sys.argv[2]) / "said.txt"))
