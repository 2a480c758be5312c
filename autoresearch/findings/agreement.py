"""Which changes several machines tried, and whether what they measured agrees. Pure, from bundles.

Two machines agree on a change where both intervals lie on the same side of zero, and contradict each other only where
they lie on opposite sides; everything else is not known yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autoresearch.candidate import constants
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Effect, Finding

LITERAL_CHARS = 40
Agreement = Literal["same direction", "null", "opposite", "differs", "undecided", "no intervals"]
ORDER: tuple[Agreement, ...] = ("opposite", "same direction", "differs", "undecided", "null", "no intervals")


@dataclass(frozen=True, slots=True)
class Tried:
    """One night's experiment with a change that another night tried too."""

    n: int
    title: str
    verdict: str
    effect: Effect | None
    gain_sigma: float | None


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A change that several nights tried. `exact`: the same values or lines; else one constant, the same way."""

    change: str
    exact: bool
    cells: tuple[Tried | None, ...]
    agreement: Agreement


def shared(bundles: Sequence[Bundle]) -> list[SharedRow]:
    """Changes that two or more nights tried: the very same first, then single constants moved the same way."""
    exact = list(_rows(bundles, True))
    seen = {(i, cell.n) for row in exact for i, cell in enumerate(row.cells) if cell is not None}
    kin = [row for row in _rows(bundles, False) if any(
        cell is not None and (i, cell.n) not in seen for i, cell in enumerate(row.cells))]  # fmt: skip
    return sorted(exact, key=_rank) + sorted(kin, key=_rank)


def _rank(row: SharedRow) -> tuple[int, int]:
    return ORDER.index(row.agreement), -sum(cell is not None for cell in row.cells)


def _rows(bundles: Sequence[Bundle], exact: bool) -> Iterator[SharedRow]:
    tried = [_first_of_each(bundle, exact) for bundle in bundles]
    keys = dict.fromkeys(key for night in tried for key in night)
    for key in keys:
        found = [night.get(key) for night in tried]
        if sum(f is not None for f in found) < 2:
            continue
        cells = tuple(None if f is None else _tried(f, bundle) for f, bundle in zip(found, bundles, strict=True))
        agreement = agree([f.effect for f in found if f is not None])
        first = next(f for f in found if f is not None)
        yield SharedRow(described(first) if exact else " ".join(key), exact, cells, agreement)


def _first_of_each(bundle: Bundle, exact: bool) -> dict[Any, Finding]:
    """The first experiment with each change, by its key: not the luckiest. One that was measured goes before."""
    found: dict[Any, Finding] = {}
    for f in bundle.findings:
        key = change_key(f) if exact else direction_key(f)
        if key is not None and (key not in found or (found[key].effect is None and f.effect is not None)):
            found[key] = f
    return found


def change_key(f: Finding) -> tuple[Any, ...] | None:
    """The same for the same change, whatever it was made to: values to two significant digits, and the code's hash."""
    if f.change is None:
        return None
    values = ((name, _rounded(old), _rounded(new)) for name, (old, new) in sorted(f.change.constants.items()))
    return (*values, f.change.code)


def direction_key(f: Finding) -> tuple[str, str] | None:
    """("MATRIX_LR", "up") for a change of one number and nothing else."""
    if f.change is None or f.change.code is not None or len(f.change.constants) != 1:
        return None
    ((name, (old, new)),) = f.change.constants.items()
    a, b = _rounded(old), _rounded(new)
    if isinstance(a, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return None
    return name, "up" if b > a else "down"


def _rounded(literal: str | None) -> Any:
    """The value to two significant digits; the text where it is no plain value."""
    if literal is None:
        return None
    try:
        value = constants.evaluate(literal)
    except ValueError:
        return literal
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(f"{value:.2g}") if number else repr(value)


def described(f: Finding) -> str:
    """The change in a line: "DEPTH 8 → 4, code in GPT.__call__"; empty where none is known."""
    if f.change is None:
        return ""
    pairs = f.change.constants.items()
    values = [f"{name} {brief(old) or 'new'} → {brief(new) or 'gone'}" for name, (old, new) in pairs]
    code = [f"code in {', '.join(f.change.touches[:3])}"] if f.change.code else []
    return ", ".join([*values[:4], *code])


def brief(literal: str | None) -> str:
    """In a line of a table: a whole schedule may be one constant."""
    text = " ".join((literal or "").split())
    return text if len(text) <= LITERAL_CHARS else text[: LITERAL_CHARS - 1] + "…"


def _tried(f: Finding, bundle: Bundle) -> Tried:
    return Tried(f.n, f.title, f.verdict, f.effect, in_sigma(f.effect.gain_bpb if f.effect else None, bundle))


def agree(effects: Iterable[Effect | None]) -> Agreement:
    """What intervals of one change on several machines say together.

    One that holds zero says nothing against another; only when they have no value in common do they differ.
    """
    known = [e for e in effects if e is not None and e.low_bpb is not None and e.high_bpb is not None]
    directions = {e.direction for e in known}
    if len(known) < 2:
        return "no intervals"
    if directions >= {1, -1}:
        return "opposite"
    if directions == {0}:
        return "null"
    if len(directions) == 1:
        return "same direction"
    lows, highs = [e.low_bpb or 0.0 for e in known], [e.high_bpb or 0.0 for e in known]
    return "differs" if max(lows) > min(highs) else "undecided"


def in_sigma(gain_bpb: float | None, bundle: Bundle) -> float | None:
    """A gain in standard deviations of one run on that machine."""
    return gain_bpb / bundle.sigma_bpb if gain_bpb is not None and bundle.sigma_bpb else None
