"""Refuse constants outside the values that `[knobs]` declares for them. No I/O.

A proposer can set a constant to any value, and no guard need check it (a page's button of 5,000 pixels, say). The
baseline's own value is always allowed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoresearch.candidate import constants, json_keys, keys, syntax, toml_keys
from autoresearch.candidate.constants import Place
from autoresearch.candidate.declared_values import Knobs, admits, values_text
from autoresearch.candidate.pack import pack
from autoresearch.errors import EditError, SourceError


def violations(files: Mapping[str, str], base: Mapping[str, str], knobs: Knobs) -> Iterator[str]:
    """Yield a sentence for each knob that has a value beyond its declaration; `base` are the baseline's files."""
    source = pack(base)
    for knob, spec in knobs.items():
        name, bracket, index = knob.partition("[")
        place = _place(source, name)
        if place is None or place.path not in files:
            continue
        old, new = base[place.path], files[place.path]
        if old == new:
            continue
        before, after = _value(old, place), _value(new, place)
        at = int(index.rstrip("]")) if bracket else None
        where = f"{place.path}: {place.name}{bracket}{index}"
        if _places(new, place) > (0 if after is None else max(1, _places(old, place))):
            yield f"{where} has to stay one plain value, {values_text(spec)} ([knobs] of task.toml)"
            continue
        for value in _beyond(before, after, at, spec):
            yield f"{where} is {value!r} and may be {values_text(spec)} ([knobs] of task.toml)"


def _place(source: str, name: str) -> Place | None:
    """Return where the baseline has a constant, None where that is not certain."""
    try:
        return constants.places(source).get(constants.named(source, name))
    except EditError:
        return None


def _value(text: str, place: Place) -> Any:
    """Return the value of a constant in a file, None where it has none that can be read."""
    return constants.read(pack({place.path: text})).get(place.name)


def _beyond(before: Any, after: Any, at: int | None, spec: Sequence[Any]) -> list[Any]:
    """Return the values that are neither declared nor the baseline's: the constant's, or those of its elements."""
    if after is None:  # the version does without it
        return []
    old, new = ([*value] if isinstance(value, list | tuple) else [value] for value in (before, after))
    if at is not None:
        old, new = old[at : at + 1], new[at : at + 1]
    pairs = [(value, old[i] if i < len(old) else None) for i, value in enumerate(new)]
    return [value for value, known in pairs if not admits(spec, value) and repr(value) != repr(known)][:1]


def _places(text: str, place: Place) -> int:
    """Return how often a file gives a constant a value, of whatever kind."""
    try:
        if place.path.lower().endswith(".py"):
            names = (node for node in ast.walk(syntax.parse(text)) if isinstance(node, ast.Name))
            return sum(node.id == place.name and isinstance(node.ctx, ast.Store) for node in names)
        document = (json_keys if place.path.lower().endswith(".json") else toml_keys).data(text)
    except SourceError:
        return 0  # the contract refuses it for that
    return int(place.name in keys.names(document))
