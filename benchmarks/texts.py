"""Cut texts to a size that a short benchmark can score, and prepare them for the tiny profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from autoresearch.tasks.gpt.data import corpus, sources

QUICK_CHARACTERS = 300_000
# Constants to start with in place of the profile's, of whose steps three seconds hold three.
SMALLER_START = {"DEPTH": "2", "TOTAL_BATCH_SIZE": "2**9", "DEVICE_BATCH_SIZE": "2"}


def excerpt(dataset: str, characters: int, path: Path) -> Path:
    """Write the beginning of a data set's documents, at most so many characters, to a .jsonl file."""
    with path.open("w", encoding="utf-8") as file:
        for _, document in sources.find(dataset, 1).documents(("train", "val", "test")):
            if characters <= 0:
                break
            file.write(json.dumps({"text": document[:characters]}) + "\n")
            characters -= len(document)
    return path


def prepare(text: Path, cache: Path, start: Mapping[str, str] | None = None) -> Path:
    """Prepare a text in a cache; return the folder. `start` overrides constants that a night begins with."""
    folder = corpus.prepare(str(text), "tiny", cache=cache)
    meta = json.loads((folder / "meta.json").read_text())
    meta["constants"] |= start or {}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def quick_data(folder: Path) -> Path:
    """Prepare the beginning of Python's standard library, for --quick; return the folder of the data."""
    return prepare(excerpt("stdlib", QUICK_CHARACTERS, folder / "excerpt.jsonl"), folder / "cache")
