"""Read hostile and broken candidates: what each one tries, which outcomes are allowed, and its source.

Each file KIND.txt holds named edits of base.py (the form: testbed/named_edits.py). Under a name stands what the
candidate tries, and what must come of it:

##### looks_ahead
Answers with the next input token.
expect: probe_causality

After "expect:" stand "contract" where the contract must refuse it, and the kinds of failure, or "harmless", that may
come of it where the contract is bypassed. "needs: sandbox" marks those that would do harm on a machine without one, and
"needs: linux" those that call its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed import named_edits

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class HostileCandidate:
    name: str
    kind: str  # the file's name: metric, judge, clock, events, contract, sandbox or interface
    source: str
    tries: str
    by_contract: bool  # the contract must refuse it
    outcomes: frozenset[str]  # allowed outcomes where the contract is bypassed: failure kinds, or "harmless"
    needs_sandbox: bool  # without one it could do real harm to this machine
    needs_linux: bool  # it calls Linux's kernel, or reads its /proc


def read_all() -> list[HostileCandidate]:
    """Build every candidate of the folder."""
    base = (FOLDER / "base.py").read_text()
    found = [
        _candidate(file.stem, name, entry, named_edits.apply(base, entry.edits))
        for file in sorted(FOLDER.glob("*.txt"))
        for name, entry in named_edits.parse(file.read_text()).items()
    ]
    assert len({c.name for c in found}) == len(found), "two candidates have one name"
    return found


def _candidate(kind: str, name: str, entry: named_edits.NamedEdits, source: str) -> HostileCandidate:
    tries, expected, *needs = entry.about
    words = frozenset(expected.removeprefix("expect:").split())
    return HostileCandidate(
        name,
        kind,
        source,
        tries,
        "contract" in words,
        words - {"contract"},
        "needs: sandbox" in needs,
        "needs: linux" in needs,
    )
