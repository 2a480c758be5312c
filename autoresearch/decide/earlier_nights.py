"""Remember across nights what this machine taught: sigma of each task, and examples for the early stop.

One JSON file per machine in the cache, replaced whole: task -> tag -> EarlierNight. A night overwrites its own and
never reads it, so that a resumed night does not count its own replicates twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.decide.early_stop import Example
from autoresearch.decide.noise import Noise
from autoresearch.files import write_atomic
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.records import TaskFacts

REMEMBERED = 300  # examples: machines and tasks change, and a calibration compares each with all others


@dataclass(frozen=True, slots=True)
class EarlierNight:
    """What one night taught about one task."""

    sigma_score: float
    df: float  # degrees of freedom of sigma
    examples: tuple[Example, ...] = ()


def load(path: Path, task: TaskFacts, tag: str) -> Noise | None:
    """Return sigma from the other nights on this task, or None without any.

    Log sigma is averaged, weighted by degrees of freedom: (0.01, 2) and (0.02, 6) -> Noise(0.0168, 8).
    """
    nights = _others(path, task, tag)
    df = sum(night.df for night in nights)
    if df <= 0:
        return None
    return Noise(math.exp(sum(night.df * math.log(night.sigma_score) for night in nights) / df), df)


def examples(path: Path, task: TaskFacts, tag: str) -> list[Example]:
    """Return the early stop's examples of the other nights, the latest nights' last."""
    return [run for night in _others(path, task, tag) for run in night.examples][-REMEMBERED:]


def save(path: Path, task: TaskFacts, tag: str, noise: Noise, examples: Sequence[Example]) -> None:
    """Store this night's sigma, from its own replicates alone, and its examples, in place of what the tag stored."""
    known = _read(path)
    known.setdefault(_key(task), {})[tag] = EarlierNight(noise.sigma_score, noise.df, tuple(examples))
    write_atomic(path, to_json(known, indent=1))


def _others(path: Path, task: TaskFacts, tag: str) -> list[EarlierNight]:
    return [entry for other, entry in _read(path).get(_key(task), {}).items() if other != tag]


def _key(task: TaskFacts) -> str:
    """Name a task: _key(TaskFacts(dataset="climbmix", ...)) -> "climbmix mac 5f2a90c1d2e3b4a5 300 s"."""
    return f"{task.dataset} {task.profile} {task.fingerprint} {task.budget_s or 0:g} s"


def _read(path: Path) -> dict[str, dict[str, EarlierNight]]:
    """Read the file; empty where it is missing or damaged, since the noise can be measured again."""
    try:
        return from_json(dict[str, dict[str, EarlierNight]], path.read_bytes())
    except (OSError, MalformedError):
        return {}
