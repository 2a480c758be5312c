"""Define what the loop needs of a task: what may change, how a version is measured, and what proposers are told.

Training (tasks/gpt) is one; a folder with a task.toml (tasks/command) is the other kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure.follower import Listener
from autoresearch.record.branch import Branch
from autoresearch.records import Brief, Failure, Measurement, Purpose, Role, Say, TaskFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """One run to be made: of which version, where, and for what."""

    source: Path  # the file that holds the version's source (candidate/pack.py)
    folder: Path  # made afresh; the only place where the run's processes may write
    seed: int
    purpose: Purpose
    role: Role
    incumbent: Path | None = None  # the source beside which it may run: the incumbent's, or the baseline's of that
    incumbent_score: float | None = None  # its present estimate
    early_stop: EarlyStopCheck | None = None  # may end a first run at half its budget
    ceiling_score: float | None = None  # of a first run: with a worse score it leads nowhere, so few checks are enough
    floor_score: float | None = None  # a better score is implausible; a member scores it again at once
    member: str | None = None  # of a fleet, that is to make it as long as it is there


class Task(Protocol):
    """What is optimised: some files, and a number that judges them."""

    @property
    def facts(self) -> TaskFacts:
        """Name, metric, files and a fingerprint over all that may not change; results compare within one."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions that a baseline depends on: another one asks for a new baseline."""
        ...

    @property
    def run_s(self) -> float:
        """Seconds that one run takes, as far as it is known before: training's budget, else 0."""
        ...

    def describe(self) -> str:
        """Return what a run does, in a line for people."""
        ...

    def read(self, contents: Callable[[str], bytes]) -> str:
        """Return the source that the files make; `contents(path)` gives a file's bytes, empty where there is none.

        Raises AutoresearchError where a file is missing or is not text.
        """
        ...

    def files(self, source: str) -> dict[str, bytes]:
        """Return the files that a source holds, by their path below the task's folder."""
        ...

    def first_commits(self, branch: Branch, say: Say) -> None:
        """Commit to a new night's branch what it begins with on this machine."""
        ...

    def check(self, source: str, base: str) -> tuple[str, ...]:
        """Return what a source breaks of the task's contract; `base` is the baseline's source."""
        ...

    def preflight(self, source: str) -> Failure | None:
        """Return why a changed source cannot work, found within seconds; None where it may, or the task has no way."""
        ...

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit what a candidate may take, by what the baseline's runs took."""
        ...

    def measure(self, order: RunOrder, listen: Listener) -> Measurement:
        """Make one run. No candidate makes it raise."""
        ...

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        """Score what an earlier run left in another way, which has to agree; None where the task has no such way."""
        ...

    def program(self) -> str:
        """Return the person's brief as it is at this moment, which proposers are given word for word."""
        ...

    def brief(self) -> Brief | None:
        """Return what proposers are told; None for training, which they know."""
        ...
