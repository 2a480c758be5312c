"""Be the members of a fleet within one process: a run takes milliseconds, and its score follows from its constants."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoresearch.fleet.job import Done, Job
from autoresearch.fleet.pool import Known, StoppedError
from autoresearch.records import Failure, Measurement
from autoresearch.system.machine import Facts
from testbed.toy import this_machine

PATIENCE_S = 30.0  # of a run that waits for others

JobScore = Callable[[str, Job], float]  # of a job on a machine of a kind


@dataclass
class LocalPool:
    """Pool whose members are threads of the caller. `score` says what a job measures on a kind of machine."""

    kinds: dict[str, int]  # how many members of each are there; their names are "KIND 0" and so on
    score: JobScore
    run_s: float = 0.002
    together: int = 1  # a candidate's run waits until as many run at once, however loaded the machine is
    shifts: dict[str, float] = field(default_factory=dict)  # what a member measures beside the others of its kind
    beside: bool = False  # each run that has another version to run beside is a pair of both
    made: list[tuple[str, Job]] = field(default_factory=list)  # member and job, in the order of their ends
    most_at_once: int = 0  # candidates
    _keys: dict[str, str | None] = field(default_factory=dict)
    _busy: dict[str, Job] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _given_up: set[str] = field(default_factory=set)
    _freed: threading.Condition = field(default_factory=threading.Condition)

    def members(self) -> list[Known]:
        names = [(kind, f"{kind} {i}") for kind, count in self.kinds.items() for i in range(count)]
        return [Known(name, name, "a toy", kind, self._keys.get(name)) for kind, name in names]

    def classes(self) -> Mapping[str, int]:
        return Counter(known.key for known in self.members() if known.key is not None)

    def facts(self, key: str) -> Facts:
        return this_machine()

    def assign(self, name: str, key: str | None) -> None:
        with self._freed:
            self._keys[name] = key
            self._freed.notify_all()

    def measure(self, key: str, job: Job, on: str | None = None) -> Done:
        name = self._take(key, job, on)
        if name is None:
            return Done(Measurement(job.seed, failure=Failure("machine", "it has gone"), member=on))
        try:
            kind = name.rpartition(" ")[0]
            until = time.monotonic() + (PATIENCE_S if job.role == "candidate" else 0)
            while self.most_at_once < self.together and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(self.run_s)
            while not self.kinds[kind] and key not in self._given_up and not self._stopped.is_set():
                time.sleep(0.01)
            self._raise_if_stopped(key)
            assert Job.from_json(job.to_json()) == job
            made = Measurement(job.seed, self._measured(kind, name, job), total_s=self.run_s, member=name)
        finally:
            with self._freed:
                self.made.append((name, job))
                del self._busy[name]
                self._freed.notify_all()
        return Done(replace(made, beside=self.beside and job.incumbent is not None))

    def _measured(self, kind: str, name: str, job: Job) -> float:
        score = self.score(kind, job)
        if not self.beside or job.incumbent is None or job.incumbent_score is None:
            return score + self.shifts.get(name, 0.0)
        other = replace(job, id=f"{job.id}, the other", source=job.incumbent)
        return job.incumbent_score + (score - self.score(kind, other)) * (1 + self.shifts.get(name, 0.0))

    def _take(self, key: str, job: Job, on: str | None) -> str | None:
        with self._freed:
            while not (free := [name for name in self._able(key, job, on) if name not in self._busy]):
                if job.purpose == "newcomer" and not self._able(key, job, on):
                    return None
                self._freed.wait(0.01)
                self._raise_if_stopped(key)
            self._busy[free[0]] = job
            self.most_at_once = max(self.most_at_once, sum(j.role == "candidate" for j in self._busy.values()))
            return free[0]

    def _able(self, key: str, job: Job, on: str | None) -> list[str]:
        here = self.members()
        named = [known.name for known in here if known.name == on]
        return named or [known.name for known in here if known.key == key and job.purpose != "newcomer"]

    def _raise_if_stopped(self, key: str) -> None:
        if self._stopped.is_set() or key in self._given_up:
            raise StoppedError

    def stop(self, key: str | None = None) -> None:
        if key is None:
            self._stopped.set()
        else:
            self._given_up.add(key)


def ids(made: Sequence[tuple[str, Job]]) -> list[str]:
    """Return the names of the jobs, each of which may be made once."""
    return [job.id for _, job in made]
