"""Cuts texts to a size that a short benchmark can score, and prepares them."""

from __future__ import annotations

import json
from pathlib import Path

from autoresearch.tasks.gpt.data import corpus, sources


def excerpt(dataset: str, characters: int, path: Path) -> Path:
    """Write the beginning of a data set's documents, at most so many characters, to a .jsonl file."""
    with path.open("w", encoding="utf-8") as file:
        for _, document in sources.find(dataset, 1).documents(("train", "val", "test")):
            if characters <= 0:
                break
            file.write(json.dumps({"text": document[:characters]}) + "\n")
            characters -= len(document)
    return path


def prepared_excerpt(folder: Path, characters: int = 300_000) -> Path:
    """Prepare the beginning of Python's standard library in a cache of its own, for --quick; return its folder."""
    text = excerpt("stdlib", characters, folder / "excerpt.jsonl")
    return corpus.prepare(str(text), "tiny", cache=folder / "cache")
