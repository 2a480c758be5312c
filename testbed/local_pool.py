"""Be the members of a fleet within one process: a run takes milliseconds, and its score follows from its constants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autoresearch.fleet.job import Done, Job
from autoresearch.fleet.pool import StoppedError
from autoresearch.records import Measurement
from autoresearch.system import machine
from autoresearch.system.machine import Facts

PATIENCE_S = 30.0  # of a run that waits for others

JobScore = Callable[[str, Job], float]  # of a job on a member of a class


@dataclass
class LocalPool:
    """Pool whose members are threads of the caller. `score` says what a job measures on a class."""

    members: dict[str, int]
    score: JobScore
    run_s: float = 0.002
    together: int = 1  # a candidate's run waits until as many run at once, however loaded the machine is
    made: list[tuple[str, str]] = field(default_factory=list)  # (class, id) of each job, in the order of their ends
    most_at_once: int = 0
    _running: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _given_up: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free: dict[str, threading.Semaphore] = field(default_factory=dict)

    def classes(self) -> Mapping[str, int]:
        return dict(self.members)

    def facts(self, key: str) -> Facts:
        return machine.facts()

    def measure(self, key: str, job: Job) -> Done:
        with self._lock:
            free = self._free.setdefault(key, threading.Semaphore(self.members[key]))
        with free:
            with self._lock:
                self._running += 1
                self.most_at_once = max(self.most_at_once, self._running)
            until = time.monotonic() + (PATIENCE_S if job.role == "candidate" else 0)
            while self.most_at_once < self.together and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(self.run_s)
            with self._lock:
                self._running -= 1
                self.made.append((key, job.id))
        while not self.members[key] and key not in self._given_up and not self._stopped.is_set():
            time.sleep(0.01)
        if self._stopped.is_set() or key in self._given_up:
            raise StoppedError
        assert Job.from_json(job.to_json()) == job
        return Done(Measurement(job.seed, self.score(key, job), total_s=self.run_s), f"{key} 0")

    def stop(self, key: str | None = None) -> None:
        if key is None:
            self._stopped.set()
        else:
            self._given_up.add(key)


def ids(made: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of the jobs, each of which may be made once."""
    return [f"{key} {id}" for key, id in made]
