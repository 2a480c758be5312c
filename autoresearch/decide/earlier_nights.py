"""What earlier nights taught about this machine: sigma per task, and the early stop's examples; one entry a night."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch.decide.early_stop import Finished
from autoresearch.decide.noise import Noise
from autoresearch.files import write_atomic

REMEMBERED = 300  # examples: machines and tasks change, and a calibration compares each with all others


def load(path: Path, task: Mapping[str, Any], tag: str) -> Noise | None:
    """Sigma from the other nights on this task, averaged in its logarithm by degrees of freedom; None without any."""
    nights = _others(path, task, tag)
    df = sum(entry["df"] for entry in nights)
    if df <= 0:
        return None
    return Noise(math.exp(sum(entry["df"] * math.log(entry["sigma_bpb"]) for entry in nights) / df), df)


def finished(path: Path, task: Mapping[str, Any], tag: str) -> list[Finished]:
    """The experiments of the other nights that the early stop may learn from, the latest nights' last."""
    return [Finished(*run) for night in _others(path, task, tag) for run in night.get("finished", [])][-REMEMBERED:]


def save(path: Path, task: Mapping[str, Any], tag: str, noise: Noise, finished: Sequence[Finished]) -> None:
    """Stores this night's own sigma, from its replicates alone, and its examples; replaces what the tag stored."""
    known = _read(path)
    runs = [[run.behind_nats, run.delta_bpb, run.limit_nats] for run in finished]
    known.setdefault(_key(task), {})[tag] = {"sigma_bpb": noise.sigma_bpb, "df": noise.df, "finished": runs}
    write_atomic(path, json.dumps(known, indent=1).encode())


def _others(path: Path, task: Mapping[str, Any], tag: str) -> list[dict[str, Any]]:
    return [entry for other, entry in _read(path).get(_key(task), {}).items() if other != tag]


def _key(task: Mapping[str, Any]) -> str:
    return f"{task['dataset']} {task['profile']} {task['fingerprint']} {task['budget_s']:g} s"


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The file's content; empty where it is missing or damaged, since the noise can be measured again."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
