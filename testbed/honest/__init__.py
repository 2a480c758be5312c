"""Hold an honest editable file, and named edits of it that the contract must let pass."""

from __future__ import annotations

from pathlib import Path

from testbed import named_edits

FOLDER = Path(__file__).parent
BASE = (FOLDER / "base.py").read_text()
EDITS = {name: entry.edits for name, entry in named_edits.parse((FOLDER / "edits.txt").read_text()).items()}

# The smallest file that keeps the contract, with the names that most edits use.
SMALLEST = """\
import math
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

import prepare

DEPTH, LR = 2, 0.01


def build_model(task):
    return nn.Linear(1, 1)


def train(model, run):
    pass
"""


def edited(edits: tuple[tuple[str, str], ...]) -> str:
    return named_edits.apply(BASE, edits)
