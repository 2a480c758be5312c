"""Measure what the trainer learns."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cli import run_module

PARTS = {
    "defaults": "val_bpb after the same tokens: other defaults, recipes, changes of the code",
    "optimizers": "val_bpb after fixed steps, with parts of the optimizer removed",
}
WHERE = {
    "optimizers": "optimizers:optimizers",
}


def main(argv: Sequence[str]) -> int:
    return run_module(__name__, PARTS, argv, WHERE)
