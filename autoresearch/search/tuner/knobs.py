"""Give the constants and keys of a declared task their axes: by the ranges and choices that it declares, else by value.

Two numbers are a range, ends included; any other list holds choices. A task that declares knobs is searched along
these; its other constants are then minor. No I/O.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from autoresearch.candidate import constants, literals
from autoresearch.candidate.declared_values import Knobs, is_range, searchable
from autoresearch.errors import EditError
from autoresearch.search.tuner.axes import Axis, Value, whole_numbers

LONGEST_LIST = 16  # elements of a list that are searched one by one
WIDE = 8.0  # ratio of a range's ends from which on it is searched on a log scale
FACTOR = 2.0  # log2 of the largest factor by which a number without a range is changed
MOVES = 8  # coarse steps from one end of a range to the other
REMEMBERED = 16  # sources
MOST_PLACES = 100  # of a grid of whole numbers

# Words in the names of shares, which lie between 0 and 1, and of what no result may be chosen by.
_SHARES = re.compile(
    r"(^|[\W_])(share|ratio|fraction|frac|prob|probability|threshold|cutoff|quantile|alpha|beta|momentum|dropout|decay)"
    r"([\W_]|$)",
    re.IGNORECASE,
)
_NEVER = re.compile(r"(^|[\W_])(seed|seeds|random_state|version)([\W_]|$)", re.IGNORECASE)


def axes(source: str, knobs: Knobs, categories: Sequence[str]) -> Iterator[Axis]:
    """Yield the axes of a packed source, in the order of its constants."""
    declared = dict(_placed(source, knobs))
    values = constants.read(source)
    names = [name for name in values if name in _settable(source)]
    found = [axis for name in names for axis in _axes_of(name, values[name], declared, categories)]
    any_declared = any(axis.declared for axis in found)
    yield from (replace(axis, minor=any_declared and not axis.declared) for axis in found)


@lru_cache(REMEMBERED)
def _settable(source: str) -> frozenset[str]:
    """Return the constants that have one place in their file: not those that a module assigns twice."""
    found = []
    for name, literal in constants.literals(source).items():
        try:
            constants.assign(source, name, literal)
        except EditError:
            continue
        found.append(name)
    return frozenset(found)


def _placed(source: str, knobs: Knobs) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the knobs by the names that the source's constants have."""
    for knob, spec in knobs.items():
        name, bracket, index = knob.partition("[")
        yield constants.named(source, name) + bracket + index, spec


def _axes_of(name: str, value: Any, declared: Knobs, categories: Sequence[str]) -> Iterator[Axis]:
    words = re.split(r"[\W_]+", name.lower())
    category = next((c for c in categories if c.lower() in words), "other")
    parts: list[tuple[str, int | None, Any]] = [(name, None, value)]
    if isinstance(value, list | tuple):
        parts = [(f"{name}[{i}]", i, element) for i, element in enumerate(value[: LONGEST_LIST + 1])]
        parts = parts if len(parts) <= LONGEST_LIST else []
    for part, index, element in parts:
        spec = declared.get(part, declared.get(name))
        if not searchable(element):
            continue
        axis = Axis(part, name, element, category, "choice", index=index, declared=spec is not None)
        found = _by_declaration(axis, spec) if spec is not None else _by_value(axis)
        if found is not None and (found.scale != "choice" or len(found.grid) > 1):
            yield found


# --- declared ---------------------------------------------------------------------------------------------------------


def _by_declaration(axis: Axis, spec: Sequence[Any]) -> Axis | None:
    if isinstance(axis.value, bool):
        return replace(axis, grid=(False, True))
    if is_range(spec) and isinstance(axis.value, int | float):
        low, high = sorted((float(spec[0]), float(spec[1])))
        return _ranged(axis, low, high)
    choices = [
        choice for choice in spec if literals.same_kind(axis.value, choice) and not isinstance(choice, list | tuple)
    ]
    if choices and isinstance(axis.value, int | float) and len(choices) > 1:
        return _on_grid(axis, [type(axis.value)(choice) for choice in choices])
    return replace(axis, grid=tuple(dict.fromkeys((*choices, axis.value))))


def _ranged(axis: Axis, low: float, high: float) -> Axis:
    """Return the axis of a number between two others; a present value outside of them stays in reach."""
    if isinstance(axis.value, int):
        low, high = math.ceil(low), math.floor(high)
        every = range(int(low), int(high) + 1)
        if len(every) <= MOST_PLACES:
            return _on_grid(axis, every)
        spread = (_between(low, high, i / MOST_PLACES) for i in range(MOST_PLACES + 1))
        return _on_grid(axis, [int(low), int(high), *(int(float(f"{place:.3g}")) for place in spread)], low, high)
    axis = replace(axis, scale="log" if _is_wide(low, high) and float(axis.value) > 0 else "linear")
    ends = [_place(axis, value) for value in (low, high, float(axis.value))]
    step = (max(ends) - min(ends)) / MOVES
    return replace(axis, low=min(ends), high=max(ends), step=step, decimals=_decimals(step))


def _between(low: float, high: float, share: float) -> float:
    """Return a number at a share of the way, in equal factors where the range is wide."""
    return low * (high / low) ** share if _is_wide(low, high) else low + (high - low) * share


def _on_grid(axis: Axis, values: Iterable[Value], low: float = -math.inf, high: float = math.inf) -> Axis:
    """Return the axis of the numbers `values` that lie in low..high, and of its own."""
    grid = sorted({axis.value, *(value for value in values if low <= float(value) <= high)}, key=float)
    axis = replace(axis, scale="log" if _is_wide(float(grid[0]), float(grid[-1])) else "linear", grid=tuple(grid))
    first, last = _place(axis, float(grid[0])), _place(axis, float(grid[-1]))
    return replace(axis, low=first, high=last, step=max(last - first, 1e-9) / min(MOVES, max(1, len(grid) - 1)))


def _is_wide(low: float, high: float) -> bool:
    return low > 0 and high / low >= WIDE


def _place(axis: Axis, value: float) -> float:
    return math.log2(value) if axis.scale == "log" else value


def _decimals(step: float) -> int:
    """Return the decimals that tell two values a tenth of a step apart."""
    return max(2, 1 - math.floor(math.log10(step))) if step > 0 else 2


# --- by value ---------------------------------------------------------------------------------------------------------


def _by_value(axis: Axis) -> Axis | None:
    """Return the axis that a value without a declared range suggests; None for texts, and for names like "seed"."""
    value = axis.value
    if _NEVER.search(axis.constant) or not isinstance(value, bool | int | float):
        return None
    if isinstance(value, bool):
        return replace(axis, grid=(False, True))
    if isinstance(value, float) and 0 <= value <= 1 and _SHARES.search(axis.constant):
        return _ranged(axis, 0.0, 1.0)
    if value == 0:
        return _on_grid(axis, range(5)) if isinstance(value, int) else _ranged(axis, -1.0, 1.0)
    if value < 0:
        return _ranged(axis, 2.0 * value, 0.0)
    place = math.log2(value)
    axis = replace(axis, scale="log", low=place - FACTOR, high=place + FACTOR, step=FACTOR / 4)
    return _on_grid(axis, whole_numbers(axis)) if isinstance(value, int) else axis
