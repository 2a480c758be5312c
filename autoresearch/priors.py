"""What earlier nights taught about this machine's noise: sigma per task, kept in the cache, one entry a night."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch.files import write_atomic
from autoresearch.noise import Noise


def load(path: Path, task: Mapping[str, Any], tag: str) -> Noise | None:
    """Sigma from the other nights on this task, averaged in its logarithm by degrees of freedom; None without any."""
    nights = [entry for other, entry in _read(path).get(_key(task), {}).items() if other != tag]
    df = sum(entry["df"] for entry in nights)
    if df <= 0:
        return None
    return Noise(math.exp(sum(entry["df"] * math.log(entry["sigma_bpb"]) for entry in nights) / df), df)


def save(path: Path, task: Mapping[str, Any], tag: str, noise: Noise) -> None:
    """Stores this night's own sigma, from its replicates alone; replaces what the tag stored before."""
    known = _read(path)
    known.setdefault(_key(task), {})[tag] = {"sigma_bpb": noise.sigma_bpb, "df": noise.df}
    write_atomic(path, json.dumps(known, indent=1).encode())


def _key(task: Mapping[str, Any]) -> str:
    return f"{task['dataset']} {task['profile']} {task['fingerprint']} {task['budget_s']:g} s"


def _read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The file's content; empty where it is missing or damaged, since the noise can be measured again."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
