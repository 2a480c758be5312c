"""Define the events of a journal, one dataclass each. What they mean together is night.py's matter.

A line of the journal is one event as JSON, with the schema's version `v`, the time `t` and the `type` in front:

    {"v":2,"t":"2026-11-23T23:04:11.120+01:00","type":"started","n":7,"run":0,"seed":7000,"purpose":"search",
     "machine":"apple-m4-pro-20gpu-24gb"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autoresearch.records import Measurement, Proposal, Purpose, Role, TaskFacts, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Any event. One of a type that this version does not know is read as this, and changes nothing."""

    t: datetime  # with its offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    """Start of a session, which begins or resumes the night. A run that has not ended by now was cut off."""

    tag: str
    task: TaskFacts
    versions: Mapping[str, str]  # of mlx, python and the harness
    machine: Mapping[str, Any] = field(default_factory=dict)  # system.machine.Facts
    base_commit: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed(Event):
    """Plan of experiment n, whose source is on the disk already."""

    n: int
    role: Role
    proposal: Proposal
    source_sha256: str
    parent_n: int | None = None  # the experiment whose source it edits; a baseline has none
    parent_commit: str  # HEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """Start of a run of experiment n."""

    n: int
    run: int  # counted from 0 within the experiment
    seed: int
    purpose: Purpose
    machine: str  # system.machine.Facts.slug() of the machine that runs it


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """End of a run with a result, which may be a failure of the candidate's."""

    n: int
    run: int
    measurement: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Event):
    """End of a run that the user stopped or the machine spoiled. It does not count against the idea."""

    n: int
    run: int
    why: str = ""
    measurement: Measurement | None = None  # of the spoiled run, for whoever reads the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """Verdict on experiment n."""

    n: int
    verdict: Verdict
    reason: str
    delta_score: float | None = None  # incumbent - candidate: positive is better
    sigma_score: float | None = None
    z: float | None = None
    estimate: float | None = None  # bits per byte
    blob: str | None = None  # git's id of the source
    parent_commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """Commit of a candidate: on the branch, or set aside under a ref of its own."""

    n: int
    commit: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined(Event):
    """End of experiment n without a verdict, because the machine went down twice during its runs."""

    n: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """End of a hypothesis in the inbox that makes no candidate, e.g. because its edits do not apply."""

    inbox_id: str
    title: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Event):
    """Turn of a proposer that brought no usable idea."""

    proposer: str
    reason: str
    kind: str = "failed"  # ProposerError.reason
    usage: Mapping[str, float] = field(default_factory=dict)  # what the attempt cost, as Proposal.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinted(Event):
    """Findings of other machines that the proposers are told; findings/hints.py reads the entries."""

    findings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Event):
    """Class that a member of a fleet makes runs for, because it measured the baseline or was compared by it."""

    member: str  # its name
    id: str  # by which it is known again
    what: str  # its hardware, system and versions: as another one it is compared again
    key: str  # of the class
    why: str  # for people
    n: int | None = None  # the experiment that it ran to be compared; None where it measured the baseline itself
    runs: tuple[int, ...] = ()  # of that experiment
    shift_score: float | None = None  # its mean minus the class's: positive is worse
    z: float | None = None  # in standard errors of that difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """Line for the user, e.g. that the early stop is in force from now on."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """Start of a pause, because the user wants the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """End of a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """Orderly end of a session. After a kill or a power cut there is no such event."""

    why: str


TYPES: Mapping[str, type[Event]] = {
    "opened": Opened,
    "proposed": Proposed,
    "started": Started,
    "measured": Measured,
    "abandoned": Abandoned,
    "decided": Decided,
    "committed": Committed,
    "quarantined": Quarantined,
    "refused": Refused,
    "turn_failed": TurnFailed,
    "hinted": Hinted,
    "placed": Placed,
    "note": Note,
    "paused": Paused,
    "resumed": Resumed,
    "closed": Closed,
}
