"""Make a task's runs on the members of a fleet; all else of the task stays on the coordinator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from autoresearch.fleet.job import Job
from autoresearch.fleet.pool import Pool, StoppedError
from autoresearch.measure.follower import Listener
from autoresearch.record.branch import Branch
from autoresearch.records import Brief, Failure, Measurement, Say, TaskFacts
from autoresearch.tasks.task import RunOrder, Task

PATIENCE, LEAST_PATIENCE_S = 10, 1800.0  # a member hangs after so many times a usual run, and not before half an hour


@dataclass
class RemoteTask:
    """Task whose runs the members of one class make.

    `measure` is called by threads that hold `turns`, the lock of their class's night, and lets go of it while a
    member works.
    """

    task: Task
    pool: Pool
    key: str  # of the class
    turns: Lock
    first: Callable[[Branch, Say], None]  # the first commits of a night on machines of this class
    baseline: Sequence[Measurement] = field(default=())
    again: dict[Path, Measurement] = field(default_factory=dict)  # second scores, by the run's folder

    @property
    def facts(self) -> TaskFacts:
        return self.task.facts

    @property
    def versions(self) -> Mapping[str, str]:
        return self.task.versions

    @property
    def run_s(self) -> float:
        return self.task.run_s

    def describe(self) -> str:
        return f"{self.task.describe()}, on {self.key}"

    def program(self) -> str:
        return self.task.program()

    def brief(self) -> Brief | None:
        return self.task.brief()

    def read(self, contents: Callable[[str], bytes]) -> str:
        return self.task.read(contents)

    def files(self, source: str) -> dict[str, bytes]:
        return self.task.files(source)

    def check(self, source: str, base: str) -> tuple[str, ...]:
        return self.task.check(source, base)

    def preflight(self, source: str) -> Failure | None:
        return self.task.preflight(source)

    def first_commits(self, branch: Branch, say: Say) -> None:
        self.first(branch, say)

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit what a candidate may take on a member by what the baseline's runs took there."""
        self.baseline = tuple(baseline)

    def measure(self, order: RunOrder, listen: Listener) -> Measurement:
        """Let a member make the run. Raises KeyboardInterrupt where the fleet is stopped meanwhile."""
        id, usual_s = "/".join(order.folder.parts[-3:]), max((m.total_s for m in self.baseline), default=self.run_s)
        patience_s = max(LEAST_PATIENCE_S, PATIENCE * usual_s)
        job = Job.of(id, self.facts.fingerprint or "", order, self.baseline, patience_s)
        with let_go(self.turns):
            try:
                done = self.pool.measure(self.key, job, order.member)
            except StoppedError:
                raise KeyboardInterrupt("the fleet was stopped") from None
        if done.again is not None:
            self.again[order.folder] = done.again
        return done.measurement

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        """Return the second score of a run, where its member found the first one implausible; see `Job.floor_score`."""
        return self.again.get(order.folder)


@contextmanager
def let_go(lock: Lock) -> Iterator[None]:
    """Release a lock that the caller holds until the block ends."""
    lock.release()
    try:
        yield
    finally:
        lock.acquire()
