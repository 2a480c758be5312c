"""Say what a check of this machine found, and through what the checks ask the machine. doctor.py holds the checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from autoresearch.paths import Cache
from autoresearch.records import Measurement
from autoresearch.system import load, machine
from autoresearch.system.load import Load
from autoresearch.system.machine import Ask, Facts
from autoresearch.tasks.gpt.data import corpus

REINSTALL = "install the packages again: uv sync   (without uv: rm -r .venv && make run)"


class Level(Enum):
    """Severity of a finding; the value is its mark in the terminal."""

    FINE = "✓"
    NOTE = "!"  # worth knowing, and no obstacle
    PROBLEM = "✗"  # in the way of a night


FINE, NOTE, PROBLEM = Level


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of a check: a line for a person, and advice where something can be done."""

    name: str
    level: Level
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Host:
    """The machine and the checkout to check. The callables are called once each; None leaves a check out."""

    root: Path
    facts: Facts
    run: Ask = machine.ask
    cache: Path = field(default_factory=lambda: Cache.default().folder)
    home: Path = field(default_factory=Path.home)
    python: str = sys.executable
    model: Callable[[], tuple[bool, str]] | None = None  # (a model is ready, the line that says which or why not)
    hub: Callable[[], bool] = corpus.hub_reachable
    train: Callable[[], Measurement] | None = None  # ten seconds of the real thing
    load: Callable[[], Load] = load.look

    @property
    def mac(self) -> bool:
        return self.facts.system == "Darwin"


def checks_exit_code(done: Iterable[Check]) -> int:
    """Return 1 when something is in the way of a night, else 0."""
    return int(any(check.level is PROBLEM for check in done))


def line(check: Check) -> str:
    """Return what a person reads: "✗ git: ...", and what to do about it on a line of its own."""
    text = f"{check.level.value} {check.name}: {check.message}"
    return f"{text}\n    -> {check.advice}" if check.advice else text
