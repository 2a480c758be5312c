"""How well does the warm-up predict the run: its step's seconds, and its peak memory?

    uv run benchmarks/warmup.py [--quick] [--json FILE]

Short trainings by the real child on random tokens, of candidates that differ in what sets both: depth, width, rows at
once, accumulation. The loop ends a candidate on the warm-up's word, so the ratios have to be near one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import ENVIRONMENT, ROOT, TINY_CONSTANTS, arguments, report

from autoresearch.candidate.constants import assign
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.gpt.data.profiles import TINY
from autoresearch.tasks.gpt.workbench import harness

CASES: tuple[dict[str, Any], ...] = (
    {},
    {"DEPTH": 8},
    {"ASPECT_RATIO": 64},
    {"DEVICE_BATCH_SIZE": 4},
    {"DEPTH": 2, "TOTAL_BATCH_SIZE": 1024},
)


def random_data(folder: Path) -> Path:
    """Random tokens in the layout of prepared data, as far as the train child reads it."""
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, TINY.vocab_size - 4, (2000, TINY.seq_len + 1)).astype("<u2")
    rows.tofile(folder / "train.u16")
    np.save(folder / "token_bytes.npy", np.ones(TINY.vocab_size, dtype=np.int32))
    numbers = {name: getattr(TINY, name) for name in ("seq_len", "vocab_size", "eval_tokens", "eval_rows", "budget_s")}
    task = {"dataset": "random", "profile": "tiny", "fingerprint": "0" * 16, "bos_id": TINY.vocab_size - 4}
    (folder / "meta.json").write_text(json.dumps({**task, **numbers}))
    return folder


def row(bench: Workbench, folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    source = (ROOT / "train_mlx.py").read_text()
    for name, value in {**TINY_CONSTANTS, **changes}.items():
        source = assign(source, name, repr(value))
    path = folder / "train_mlx.py"
    path.write_text(source)
    said: dict[str, Mapping[str, Any]] = {}
    m = experiment.rehearse(bench, path, folder / "run", 0, lambda event: said.update({event["event"]: event}))
    if m.failure is not None or not m.num_steps or m.training_s is None or m.peak_memory_mb is None:
        raise RuntimeError(f"{dict(changes)} did not train: {m.failure}")
    promised, step_s = said["warmed_up"], m.training_s / m.num_steps
    return {
        "candidate": ", ".join(f"{name} = {value}" for name, value in changes.items()) or "baseline",
        "steps": m.num_steps,
        "warmup_step_s": promised["warmup_step_s"],
        "step_s": step_s,
        "step_ratio": promised["warmup_step_s"] / step_s,
        "warmup_peak_mb": promised["peak_memory_mb"],
        "peak_mb": m.peak_memory_mb,
        "peak_ratio": promised["peak_memory_mb"] / m.peak_memory_mb,
    }


def main() -> int:
    args = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = random_data(Path(name) / "data" / "random" / "tiny")
        budget_s = 3.0 if args.quick else 10.0
        bench = Workbench(harness(ROOT), DataFolder(data), budget_s, Unconfined(), env=ENVIRONMENT, min_steps=0)
        cases = CASES[:2] if args.quick else CASES
        return report([row(bench, Path(name), changes) for changes in cases], args)


if __name__ == "__main__":
    raise SystemExit(main())
