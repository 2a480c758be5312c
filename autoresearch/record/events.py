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
    """A session of the loop starts or resumes the night. Runs that had not ended were cut off by the machine."""

    tag: str
    task: TaskFacts
    versions: Mapping[str, str]  # of mlx, python and the harness
    machine: Mapping[str, Any] = field(default_factory=dict)  # system.machine.Facts
    base_commit: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed(Event):
    """Experiment n is to be made; its source is on the disk already."""

    n: int
    role: Role
    proposal: Proposal
    source_sha256: str
    parent_n: int | None = None  # the experiment whose source it edits; a baseline has none
    parent_commit: str  # HEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A run of experiment n begins."""

    n: int
    run: int  # counted from 0 within the experiment
    seed: int
    purpose: Purpose
    machine: str  # system.machine.Facts.slug() of the machine that runs it


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """A run has ended with a result, which may be a failure of the candidate's."""

    n: int
    run: int
    measurement: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Event):
    """A run was stopped by the user or spoiled by the machine; it does not count against the idea."""

    n: int
    run: int
    why: str = ""
    measurement: Measurement | None = None  # of the spoiled run, for whoever reads the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """Experiment n has its verdict."""

    n: int
    verdict: Verdict
    reason: str
    delta_bpb: float | None = None  # incumbent - candidate: positive is better
    sigma_bpb: float | None = None
    z: float | None = None
    estimate: float | None = None  # bits per byte
    blob: str | None = None  # git's id of the source
    parent_commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """The candidate is in git: on the branch, or set aside under a ref of its own."""

    n: int
    commit: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined(Event):
    """The machine went down twice during runs of experiment n, so it is not tried again."""

    n: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Event):
    """A proposer was asked and had no usable idea."""

    proposer: str
    reason: str
    kind: str = "failed"  # ProposerError.reason
    usage: Mapping[str, float] = field(default_factory=dict)  # what the attempt cost, as Proposal.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinted(Event):
    """The proposers are told what other machines found; findings/hints.py reads the entries."""

    findings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """A line for the user, e.g. that the early stop is in force from now on."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """The loop waits, because the user wants the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """The loop goes on after a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """A session ends in order. After a kill or a power cut there is no such event."""

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
    "turn_failed": TurnFailed,
    "hinted": Hinted,
    "note": Note,
    "paused": Paused,
    "resumed": Resumed,
    "closed": Closed,
}
