"""Find the line of each key of a TOML text, which tomllib does not tell. No I/O."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

TomlPath = tuple[str | int, ...]  # of a key: ("metric", "from"), ("guard", 0, "run")


def key_lines(text: str) -> dict[TomlPath, int]:
    """Return the line, counted from 1, of each key and header of a valid TOML text.

    >>> key_lines('edit = ["a"]\\n[metric]\\nname = "ms"\\n')
    {('edit',): 1, ('edit', 0): 1, ('metric',): 2, ('metric', 'name'): 3}
    """
    lines = text.replace("\r\n", "\n").split("\n")
    found: dict[TomlPath, int] = {}
    counts: Counter[TomlPath] = Counter()
    prefix: TomlPath = ()
    at = 0
    while at < len(lines):
        if lines[at].lstrip().startswith("["):
            prefix, repeated = _header(lines[at])
            if repeated:
                counts[prefix] += 1
                prefix = (*prefix, counts[prefix] - 1)
            found.setdefault(prefix, at + 1)
            at += 1
            continue
        size, value = _assignment(lines, at)
        for path in _paths(value):
            found.setdefault((*prefix, *path), at + 1)
        at += size
    return found


def line_of(lines: dict[TomlPath, int], path: TomlPath) -> int | None:
    """Return the line of a key, or that of the nearest table around it; None where neither is in the text."""
    while path:
        for key in (path, (*path, 0)):  # a table that stands there as several
            if key in lines:
                return lines[key]
        path = path[:-1]
    return None


def _header(line: str) -> tuple[TomlPath, bool]:
    """Return the keys of a header, and whether it begins one of several tables: `[[a."b"]]` -> (("a", "b"), True)"""
    value: Any = tomllib.loads(line)
    path: list[str] = []
    repeated = False
    while value:
        [(key, value)] = value.items()
        path.append(key)
        if repeated := isinstance(value, list):
            value = value[0]
    return tuple(path), repeated


def _assignment(lines: list[str], at: int) -> tuple[int, dict[str, Any]]:
    """Return how many lines the assignment at `at` takes, and its value; one line and nothing where there is none."""
    for size in range(1, len(lines) - at + 1):
        try:
            return size, tomllib.loads("\n".join(lines[at : at + size]))
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
    return 1, {}


def _paths(value: Any) -> list[TomlPath]:
    """Return the path of every key and element within a value, the outer ones first."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path for key, inner in items for path in [(key,), *((key, *rest) for rest in _paths(inner))]]
