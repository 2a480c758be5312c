"""Define a run that is sent to a member as JSON (Job), and make it there (perform).

A job holds sources and numbers only: no path, no code of the harness and no pickled object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch import jsonable
from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.files import write_atomic
from autoresearch.measure.follower import Listener
from autoresearch.records import Measurement, Purpose, Role
from autoresearch.system import machine
from autoresearch.tasks.task import RunOrder, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run for a member. `id` names it in the logs of both sides."""

    id: str  # "nov27-m4-pro/0012/run-1"
    fingerprint: str  # of the task, TaskFacts.fingerprint
    source: str
    seed: int
    purpose: Purpose
    role: Role
    incumbent: str | None = None  # its source
    incumbent_score: float | None = None
    early_stop: EarlyStopCheck | None = None
    ceiling_score: float | None = None
    baseline: tuple[Measurement, ...] = ()  # runs of the baseline, by which a candidate is limited
    floor_score: float | None = None  # a better score is implausible: what was trained is scored again at once
    patience_s: float = math.inf  # after which a member without an answer counts as hanging

    @classmethod
    def of(
        cls, id: str, fingerprint: str, order: RunOrder, baseline: Sequence[Measurement], patience_s: float = math.inf
    ) -> Job:
        """Return the job of an order, whose sources it reads."""
        return cls(
            id=id,
            fingerprint=fingerprint,
            source=order.source.read_bytes().decode(),
            seed=order.seed,
            purpose=order.purpose,
            role=order.role,
            incumbent=order.incumbent.read_bytes().decode() if order.incumbent else None,
            incumbent_score=order.incumbent_score,
            early_stop=order.early_stop,
            ceiling_score=order.ceiling_score,
            floor_score=order.floor_score,
            baseline=tuple(replace(m, loss_curve=()) for m in baseline),
            patience_s=patience_s,
        )

    def to_json(self) -> str:
        return jsonable.to_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job. Raises jsonable.MalformedError."""
        return jsonable.from_json(cls, text)


@dataclass(frozen=True, slots=True)
class Done:
    """A measurement, which names its member; `again` is an implausible one's second score."""

    measurement: Measurement
    again: Measurement | None = None


def perform(task: Task, job: Job, folder: Path, name: str, listen: Listener) -> Done:
    """Make the run of a job below `folder` on the member `name`; return what it measured, with the machine's state.

    No candidate makes it raise.
    """
    source, incumbent = folder / "source", folder / "incumbent"
    write_atomic(source, job.source.encode())
    if job.incumbent is not None:
        write_atomic(incumbent, job.incumbent.encode())
    if job.baseline:
        task.limit_candidates(job.baseline)
    order = RunOrder(
        source=source,
        folder=folder / "run",
        seed=job.seed,
        purpose=job.purpose,
        role=job.role,
        incumbent=incumbent if job.incumbent is not None else None,
        incumbent_score=job.incumbent_score,
        early_stop=job.early_stop,
        ceiling_score=job.ceiling_score,
    )
    before = machine.sample()
    measured, again = task.measure(order, listen), None
    if measured.score is not None and job.floor_score is not None and measured.score < job.floor_score:
        again = task.score_again(order, 1)
    return Done(replace(measured, machine_before=before, machine_after=machine.sample(), member=name), again)
