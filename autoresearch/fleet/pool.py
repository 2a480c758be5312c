"""Define what the coordinator needs of the machines that make its runs.

fleet/dask_pool.py is the pool of a real fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoresearch.fleet.job import Done, Job
from autoresearch.system.machine import Facts


class StoppedError(Exception):
    """The pool was stopped while a job waited or ran."""


@dataclass(frozen=True, slots=True)
class Known:
    """A member that was admitted."""

    name: str  # of the machine; no other member has it
    id: str  # by which it is known again
    what: str  # its hardware, system and versions, for people
    kind: str  # of its hardware: the key of the class that it is first compared with
    key: str | None = None  # of the class that it makes runs for; None: a newcomer, which has none yet


class Pool(Protocol):
    """Machines of one or several classes; those of a class are taken to be equal."""

    def members(self) -> Sequence[Known]:
        """Return the members that are there at this moment."""
        ...

    def classes(self) -> Mapping[str, int]:
        """Return how many members each class has at this moment, by its key; newcomers are in none."""
        ...

    def facts(self, key: str) -> Facts:
        """Return the facts of a class's machines, also when none of them is there any more."""
        ...

    def assign(self, name: str, key: str | None) -> None:
        """Let a member make the runs of a class from now on, or of none; one that has gone is passed over."""
        ...

    def measure(self, key: str, job: Job, on: str | None = None) -> Done:
        """Return what a member of the class measured. Where a member is lost, another one makes the run.

        It waits until a member is free: the one named `on`, as long as that is there. A run of the purpose `newcomer`
        is made by that one alone, and fails with the kind "machine" where it has gone. Several threads may call this.
        Raises StoppedError after `stop`.
        """
        ...

    def stop(self, key: str | None = None) -> None:
        """End every job, or those of one class, and let each `measure` raise."""
        ...
