"""Measure what the trainer learns."""

from __future__ import annotations

PARTS = {
    "defaults": "val_bpb after the same tokens: other defaults, recipes, changes of the code",
    "optimizers": "val_bpb after fixed steps, with parts of the optimizer removed",
}
WHERE = {
    "optimizers": "optimizers:optimizers",
}
