"""Define what the coordinator needs of the machines that make its runs.

fleet/dask_pool.py is the pool of a real fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from autoresearch.fleet.job import Done, Job
from autoresearch.system.machine import Facts


class StoppedError(Exception):
    """The pool was stopped while a job waited or ran."""


class Pool(Protocol):
    """Machines of one or several classes; those of a class are taken to be equal."""

    def classes(self) -> Mapping[str, int]:
        """Return how many members each class has at this moment, by its key."""
        ...

    def facts(self, key: str) -> Facts:
        """Return the facts of a class's machines, also when none of them is there any more."""
        ...

    def measure(self, key: str, job: Job) -> Done:
        """Return what a member of the class measured. Where a member is lost, another one makes the run.

        It waits until a member is free, and may be called by several threads. Raises StoppedError after `stop`.
        """
        ...

    def stop(self, key: str | None = None) -> None:
        """End every job, or those of one class, and let each `measure` raise."""
        ...
