"""Hold an honest editable file, and named edits of it that the contract must let pass."""

from __future__ import annotations

from pathlib import Path

from testbed import named_edits

FOLDER = Path(__file__).parent
BASE = (FOLDER / "base.py").read_text()
EDITS = {name: entry.edits for name, entry in named_edits.parse((FOLDER / "edits.txt").read_text()).items()}


def edited(edits: tuple[tuple[str, str], ...]) -> str:
    return named_edits.apply(BASE, edits)
