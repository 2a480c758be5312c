"""Read the texts that baseline and winner of a night wrote, for the report; loop/samples.py has them written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autoresearch import jsonable
from autoresearch.decide.validation import baseline_of
from autoresearch.record.night import Experiment, Night


@dataclass(frozen=True, slots=True)
class Sample:
    """What two checkpoints wrote after the same prompt."""

    prompt: str
    baseline: str
    winner: str


@dataclass(frozen=True, slots=True)
class StoredTexts:
    """The content of samples.json: the prompts, and by the hash of a source what its checkpoint wrote after each."""

    prompts: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)


def stored(path: Path) -> StoredTexts:
    """Return the texts in the file `path`; none where it is missing or damaged."""
    try:
        return jsonable.from_json(StoredTexts, path.read_bytes())
    except (OSError, jsonable.MalformedError):
        return StoredTexts()


def pair(night: Night) -> tuple[Experiment, Experiment] | None:
    """Return baseline and winner, or None where they are the same experiment or one is missing."""
    baseline, winner = baseline_of(night), night.incumbent
    return (baseline, winner) if baseline and winner and baseline is not winner else None


def samples_of(path: Path, night: Night) -> list[Sample]:
    """Return the stored samples of this baseline and this winner; none where one of them has written nothing yet."""
    both, found = pair(night), stored(path)
    if both is None or not all(x.source_sha256 in found.texts for x in both):
        return []
    baseline, winner = (found.texts[x.source_sha256] for x in both)
    return [Sample(*three) for three in zip(found.prompts, baseline, winner, strict=False)]
