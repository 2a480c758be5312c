"""Find the changes that several machines tried and say whether their measurements agree. No I/O.

Two machines agree on a change where both intervals lie on the same side of zero, and contradict each other only where
the intervals lie on opposite sides. Everything else is not known yet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autoresearch.candidate import constants
from autoresearch.findings.bundle import Bundle, sha256
from autoresearch.findings.finding import Effect, Finding, TransferVerdict
from autoresearch.formats import shortened

MOST_SIGMA = 1e12
LITERAL_CHARS = 40  # of a constant's value in a line
Agreement = Literal["same direction", "null", "opposite", "differs", "undecided", "no intervals"]
ORDER: tuple[Agreement, ...] = ("opposite", "same direction", "differs", "undecided", "null", "no intervals")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One night's experiment with a change that another night tried, too."""

    n: int
    title: str
    verdict: str
    effect: Effect | None
    gain_sigma: float | None


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a claim transferred, made no clear difference or reversed on one class of machine."""

    machine: str  # "Apple M1, 8 GPU cores, 8 GB"
    transfers: int = 0
    nulls: int = 0
    reversals: int = 0


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A change that several nights tried, with a cell for each night.

    `exact` means the same values or lines; otherwise they moved one constant the same way. `claim` is the index of the
    earliest night with a clear effect, and `ledger` counts what the others measured against it.
    """

    change: str
    exact: bool
    cells: tuple[Attempt | None, ...]
    agreement: Agreement
    claim: int | None = None
    ledger: tuple[ClassCount, ...] = ()


def shared(bundles: Sequence[Bundle]) -> list[SharedRow]:
    """Return the changes that two or more nights tried: identical ones, then constants moved the same way."""
    exact = list(_rows(bundles, True))
    seen = {place for row in exact for place in _tried_in(row)}
    similar = [row for row in _rows(bundles, False) if not _tried_in(row) <= seen]
    return sorted(exact, key=_rank) + sorted(similar, key=_rank)


def _tried_in(row: SharedRow) -> set[tuple[int, int]]:
    """Return (index of the night, number of its experiment) for each night that tried the change."""
    return {(i, cell.n) for i, cell in enumerate(row.cells) if cell is not None}


def _rank(row: SharedRow) -> tuple[int, int]:
    return ORDER.index(row.agreement), -sum(cell is not None for cell in row.cells)


def _rows(bundles: Sequence[Bundle], exact: bool) -> Iterator[SharedRow]:
    tried = [_first_of_each(bundle, exact) for bundle in bundles]
    keys = dict.fromkeys(key for night in tried for key in night)
    for key in keys:
        found = [night.get(key) for night in tried]
        if sum(f is not None for f in found) < 2:
            continue
        cells = tuple(None if f is None else _attempt(f, bundle) for f, bundle in zip(found, bundles, strict=True))
        agreement = agree([f.effect for f in found if f is not None])
        first = next(f for f in found if f is not None)
        claim = _claim(found, bundles)
        counts = () if claim is None else _ledger(claim, found, bundles)
        yield SharedRow(described(first) if exact else " ".join(key), exact, cells, agreement, claim, counts)


def _claim(found: Sequence[Finding | None], bundles: Sequence[Bundle]) -> int | None:
    """Return the index of the earliest night whose interval for the change excludes zero."""
    clear = [i for i, f in enumerate(found) if f is not None and f.effect is not None and f.effect.direction]
    return min(clear, key=lambda i: (bundles[i].created, i), default=None)


def _ledger(claim: int, found: Sequence[Finding | None], bundles: Sequence[Bundle]) -> tuple[ClassCount, ...]:
    """Count by class of machine what the other nights say of a claim; a night without an interval says nothing."""
    first = found[claim]
    assert first is not None and first.effect is not None and first.effect.direction is not None
    said: dict[str, Counter[TransferVerdict]] = {}
    for i, (f, bundle) in enumerate(zip(found, bundles, strict=True)):
        if i != claim and f is not None and f.effect is not None and f.effect.direction is not None:
            said.setdefault(bundle.machine.kind, Counter())[verdict(first.effect.direction, f.effect)] += 1
    return tuple(ClassCount(kind, n["transfers"], n["null"], n["reverses"]) for kind, n in said.items())


def verdict(claim: int, here: Effect | None) -> TransferVerdict:
    """Return what an effect here says of a claim, 1 for a gain or -1 for a loss elsewhere.

    It transfers where the interval here lies on the claim's side of zero, reverses where it lies on the other one, and
    is null where it holds zero or there is none. Without an effect the change could not run.
    """
    if here is None:
        return "cannot run"
    if not here.direction:
        return "null"
    return "transfers" if here.direction == claim else "reverses"


def _first_of_each(bundle: Bundle, exact: bool) -> dict[Any, Finding]:
    """Return the first experiment with each change by its key; of several, the first that was measured.

    The first one, not the best: choosing the best would favour the luckiest run.
    """
    found: dict[Any, Finding] = {}
    for f in bundle.findings:
        key = change_key(f) if exact else direction_key(f)
        if key is not None and (key not in found or (found[key].effect is None and f.effect is not None)):
            found[key] = f
    return found


def change_key(f: Finding) -> tuple[Any, ...] | None:
    """Return a key that is the same for the same change in any file: values to two digits, and the code's hash."""
    if f.change is None:
        return None
    values = ((name, _two_digits(old), _two_digits(new)) for name, (old, new) in sorted(f.change.constants.items()))
    return (*values, f.change.code)


def change_id(f: Finding) -> str:
    """Return a hash that is the same for the same change in any file."""
    return sha256(repr(change_key(f)))


def direction_key(f: Finding) -> tuple[str, str] | None:
    """Return ("MATRIX_LR", "up") for a change of one number and nothing else, or None for any other change."""
    if f.change is None or f.change.code is not None or len(f.change.constants) != 1:
        return None
    ((name, (old, new)),) = f.change.constants.items()
    a, b = _two_digits(old), _two_digits(new)
    if isinstance(a, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return None
    return name, "up" if b > a else "down"


def _two_digits(literal: str | None) -> Any:
    """Return the value to two significant digits, or the text where it is not a plain value."""
    if literal is None:
        return None
    try:
        value = constants.evaluate(literal)
    except ValueError:
        return literal
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(f"{value:.2g}") if number else repr(value)


def described(f: Finding) -> str:
    """Return the change in a line: "DEPTH 8 → 4, code in GPT.__call__"; empty where it is not known."""
    if f.change is None:
        return ""
    pairs = f.change.constants.items()
    values = [f"{name} {brief(old) or 'new'} → {brief(new) or 'gone'}" for name, (old, new) in pairs]
    code = [f"code in {', '.join(f.change.touches[:3])}"] if f.change.code else []
    return ", ".join([*values[:4], *code])


def brief(literal: str | None) -> str:
    """Return a value for a line of a table, shortened: a whole schedule may be one constant."""
    return shortened(" ".join((literal or "").split()), LITERAL_CHARS)


def _attempt(f: Finding, bundle: Bundle) -> Attempt:
    return Attempt(f.n, f.title, f.verdict, f.effect, in_sigma(f.effect.gain_score if f.effect else None, bundle))


def agree(effects: Iterable[Effect | None]) -> Agreement:
    """Compare the intervals of one change on several machines.

    An interval around zero contradicts no other one, except where the two have no value in common ("differs").
    """
    known = [e for e in effects if e is not None and e.low_score is not None and e.high_score is not None]
    directions = {e.direction for e in known}
    if len(known) < 2:
        return "no intervals"
    if directions >= {1, -1}:
        return "opposite"
    if directions == {0}:
        return "null"
    if len(directions) == 1:
        return "same direction"
    lows, highs = [e.low_score or 0.0 for e in known], [e.high_score or 0.0 for e in known]
    return "differs" if max(lows) > min(highs) else "undecided"


def in_sigma(gain_score: float | None, bundle: Bundle) -> float | None:
    """Return a gain in standard deviations of one run on that machine; None where one of the two is not known.

    A gain of more than MOST_SIGMA says that the runs do not scatter, and is in no unit of their scatter.
    """
    if gain_score is None or not bundle.sigma_score:
        return None
    gain = gain_score / bundle.sigma_score
    return gain if abs(gain) <= MOST_SIGMA else None
