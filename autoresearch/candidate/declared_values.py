"""Tell which values a person declares for a constant: two different numbers are a range, any other list holds choices.

No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch.candidate import literals
from autoresearch.metrics import LARGEST, SMALLEST

Knobs = Mapping[str, Sequence[Any]]  # constant, or element `name[i]` -> its range or its choices


def searchable(value: Any) -> bool:
    """Return whether a value can be searched; of numbers not NaN, infinity, or those whose powers no float holds."""
    return not _is_number(value) or value == 0 or SMALLEST <= abs(value) <= LARGEST


def is_range(spec: Sequence[Any]) -> bool:
    """Return whether a declaration is a range: two different numbers, ends included."""
    return len(spec) == 2 and all(map(_is_number, spec)) and spec[0] != spec[1]


def values_text(spec: Sequence[Any]) -> str:
    """Say which values are declared: [10, 48] -> "10 to 48", ["a", "b"] -> "one of a, b"."""
    return f"{spec[0]} to {spec[1]}" if is_range(spec) else f"one of {', '.join(map(_written, spec))}"


def admits(spec: Sequence[Any], value: Any) -> bool:
    """Return whether a value is a declared one.

    >>> admits([10, 48], 48), admits([10, 48], 49), admits(["a", "b"], "c"), admits([True, False], 1)
    (True, False, False, False)
    """
    if is_range(spec):
        return _is_number(value) and literals.finite(value) and min(spec) <= value <= max(spec)
    return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in spec)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
