"""Read hostile and broken candidates: what each one tries, which outcomes are allowed, and its source."""

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
    outcomes: frozenset[str]  # allowed outcomes where the contract is bypassed: failure kinds, or "harmless"
    needs_sandbox: bool  # without one it could do real harm to this machine


def read_all() -> list[Candidate]:
    """Build every candidate of edits.txt, whose first lines give the form of an entry."""
    base = (FOLDER / "base.py").read_text()
    entries = named_edits.parse((FOLDER / "edits.txt").read_text())
    return [_candidate(name, entry, named_edits.apply(base, entry.edits)) for name, entry in entries.items()]


def _candidate(name: str, entry: named_edits.Entry, source: str) -> Candidate:
    tries, expected, *needs = entry.about
    words = frozenset(expected.removeprefix("expect:").split())
    return Candidate(name, source, tries, "contract" in words, words - {"contract"}, "needs: sandbox" in needs)
