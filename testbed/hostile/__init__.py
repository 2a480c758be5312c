"""Hostile and broken candidates: what each tries, what must come of it, and its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed import named_edits

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Candidate:
    name: str
    source: str
    tries: str
    by_contract: bool  # the contract must refuse it
    outcomes: frozenset[str]  # failure kinds, or "harmless", that may come of it where the contract is bypassed
    needs_sandbox: bool  # it could do real harm here without


def read_all() -> list[Candidate]:
    """Build every candidate of edits.txt, whose first lines give the form of an entry."""
    base = (FOLDER / "base.py").read_text()
    entries = named_edits.parse((FOLDER / "edits.txt").read_text())
    return [_candidate(name, entry, named_edits.apply(base, entry.edits)) for name, entry in entries.items()]


def _candidate(name: str, entry: named_edits.Entry, source: str) -> Candidate:
    tries, expected, *needs = entry.about
    words = frozenset(expected.removeprefix("expect:").split())
    return Candidate(name, source, tries, "contract" in words, words - {"contract"}, "needs: sandbox" in needs)
