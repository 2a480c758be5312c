"""Decide who may join a fleet: only machines whose measurements mean the same. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch.records import TaskFacts
from autoresearch.system.machine import Facts

MINOR = re.compile(r"\d+\.\d+")  # of a version: "3.12.4" -> "3.12"


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the coordinator asks a member to measure: the task, and the versions that it was opened with."""

    task: TaskFacts
    versions: Mapping[str, str]
    manifest: str = ""  # of a person's own text, which is sent to members that lack it


@dataclass(frozen=True, slots=True)
class Hello:
    """A member's answer. `problem` says why it cannot measure the task at all."""

    name: str  # of the machine
    id: str  # by which it is known again, e.g. where two machines have one name
    facts: Mapping[str, Any] = field(default_factory=dict)  # Facts.to_dict()
    task: TaskFacts = field(default_factory=TaskFacts)
    versions: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    lacks_data: bool = False  # of the manifest: the coordinator has to send it first


def refusal(welcome: Welcome, hello: Hello) -> str | None:
    """Return why a member cannot join, with what differs; None where it can.

    The harness and the task have to be the same, Python and MLX in their minor versions. The name of the data may be
    another one where its content, which the fingerprint tells, is the same.
    """
    if hello.problem:
        return f"cannot join: {hello.problem}"
    if hello.lacks_data:
        return f"cannot join: it does not have the data {welcome.task.dataset}, also after it was sent"
    differ = []
    for name in sorted(welcome.versions.keys() | hello.versions.keys()):
        theirs, ours = hello.versions.get(name), welcome.versions.get(name)
        if name in ("python", "mlx"):
            theirs, ours = _minor(theirs), _minor(ours)
        if theirs != ours:
            differ.append(f"{name} is {theirs or 'missing'} here and {ours or 'missing'} on the coordinator")
    same_data = welcome.task.fingerprint is not None and hello.task.fingerprint == welcome.task.fingerprint
    for name in ("name", *(() if same_data else ("dataset",)), "profile", "fingerprint", "budget_s"):
        theirs, ours = getattr(hello.task, name), getattr(welcome.task, name)
        if theirs != ours:
            differ.append(f"the task's {name} is {theirs} here and {ours} on the coordinator")
    return f"cannot join: {'; '.join(differ)}" if differ else None


def class_of(facts: Facts) -> str:
    """Return the key of the class that a machine is first taken to belong to: chip, GPU cores and memory, as a slug."""
    return facts.slug()


def what(facts: Facts, versions: Mapping[str, str]) -> str:
    """Describe a machine by what may change how it measures: as another one it is compared with its class again.

    "Apple M4, 10 GPU cores, 16 GB, macOS 26.2, mlx 0.32.4, python 3.12.4, in low-power mode"
    """
    named = [f"{name} {versions[name]}" for name in ("mlx", "python") if name in versions]
    return ", ".join([facts.describe(), *named, *(["in low-power mode"] if facts.low_power else [])])


def _minor(version: str | None) -> str | None:
    found = MINOR.match(version or "")
    return found[0] if found else version
