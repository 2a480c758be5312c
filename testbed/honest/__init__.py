"""An honest editable file, and named edits of it that the contract must let pass."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
BASE = (FOLDER / "base.py").read_text()


def read_edits(text: str) -> dict[str, list[tuple[str, str]]]:
    """The table in edits.txt: name -> [(old text, new text), ...]."""
    edits: dict[str, list[tuple[str, str]]] = {}
    for section in text.split("\n##### ")[1:]:
        name, _, body = section.partition("\n")
        blocks = re.findall(r"^<<<<\n(.*?)\n====\n(.*?)\n?>>>>$", body, re.DOTALL | re.MULTILINE)
        edits[name] = [(old, new) for old, new in blocks]
        assert len(blocks) == body.count("<<<<\n") > 0, name
    return edits


EDITS = read_edits((FOLDER / "edits.txt").read_text())


def edited(edit: list[tuple[str, str]]) -> str:
    source = BASE
    for old, new in edit:
        assert source.count(old) == 1, f"{source.count(old)} times: {old}"
        source = source.replace(old, new)
    return source
