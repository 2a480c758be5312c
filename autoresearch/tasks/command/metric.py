"""Take numbers from what a run printed, wrote and used. A number that is not there is an error, never 0.

Everything that a process printed is untrusted text: it may be empty, endless, or hold NaN.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch.formats import shortened
from autoresearch.tasks.command.globs import matching
from autoresearch.tasks.command.keys import SIZES, split_source

MOST_CASES = 10_000
MOST_OBJECTS = 1000  # beginnings of a JSON object that are tried
SHOWN = 120  # characters of a text in a message


_DECODER = json.JSONDecoder()


class MissingError(Exception):
    """A number is missing, or is not a finite number. The text says why."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of one run: what it and its judge printed, what it used, and its files."""

    printed: str | None = None  # by `run`, on its standard output
    judged: str | None = None  # by `score`, on its standard output
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_rss_mb: float | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)  # bytes by source, of those that match a file


def source_number(source: str, seen: Observed) -> float:
    """Return the number that a source names. Raises MissingError.

    >>> source_number("score:json:ms", Observed(judged='warming up\\n{"ms": 12.5}\\n'))
    12.5
    """
    kind, argument = split_source(source)
    if kind in SIZES:
        if source not in seen.sizes:
            raise MissingError(f"no file matches {argument}")
        return seen.sizes[source]
    if kind == "score:json":
        return _as_number(judged_value(argument, seen), f"`{argument}` in the judge's JSON")
    if kind == "run:line":
        return _single(re.findall(_metric_line(argument), seen.printed or "", re.MULTILINE), f"METRIC {argument}")
    if kind == "run:regex":
        return _single(re.findall(argument, seen.printed or "", re.MULTILINE), f"match of {argument}")
    used = {"wall": seen.wall_s, "cpu": seen.cpu_s, "peak_rss": seen.peak_rss_mb}[kind]
    return _as_number(used, kind)


def sizes(sources: Iterable[str], files: Mapping[str, Path]) -> dict[str, float]:
    """Return the bytes of the files that each size or gzip source names; sources that match none are left out."""
    found: dict[str, float] = {}
    for source in sources:
        kind, glob = split_source(source)
        paths = [files[path] for path in matching([glob], files)] if kind in SIZES else []
        if paths:
            found[source] = float(sum(_gzipped(p) if kind == "gzip" else p.stat().st_size for p in paths))
    return found


def _gzipped(path: Path) -> int:
    """Return the bytes that a file has once `gzip -9` has compressed it, without its name."""
    packer, size = zlib.compressobj(9, zlib.DEFLATED, 31), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())


def cases(source: str, seen: Observed) -> tuple[float, ...]:
    """Return the values by case: a list in its order, or an object in the order of its names. Raises MissingError."""
    _, key = split_source(source)
    found = judged_value(key, seen)
    if isinstance(found, dict):
        found = [found[name] for name in sorted(found)]
    if not isinstance(found, list) or not found:
        raise MissingError(f"`{key}` in the judge's JSON is not a list of numbers: {_shown(found)}")
    if len(found) > MOST_CASES:
        raise MissingError(f"`{key}` has {len(found):,} cases; {MOST_CASES:,} are the most")
    return tuple(_as_number(value, f"case {i} of `{key}`", flags=True) for i, value in enumerate(found, 1))


def figures(seen: Observed) -> dict[str, float]:
    """Return all numbers of the judge's last JSON object, for the record."""
    try:
        found = _last_object(seen.judged or "")
    except MissingError:
        return {}
    flat = {name: value for name, value in found.items() if _is_number(value)}
    return {shortened(name, 40): float(value) for name, value in list(flat.items())[:50]}


def judged_value(key: str, seen: Observed) -> Any:
    """Return a value of the judge's last JSON object: `a.b` is key b of object a. Raises MissingError."""
    found: Any = _last_object(seen.judged or "")
    if key in found:
        return found[key]
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            raise MissingError(f"the judge's JSON has no `{key}`")
        found = found[part]
    return found


def _last_object(text: str) -> dict[str, Any]:
    """Return the last JSON object that begins and ends a line; one may take many lines, as indented ones do.

    An object that is itself indented counts only where there is no other: it may be a part of one that is broken.
    """
    text = text.replace("\r", "\n")
    for indent in ("", r"[ \t]+"):
        found = list(re.finditer(rf"^{indent}(?=\{{)", text, re.MULTILINE))
        for start in reversed(found[-MOST_OBJECTS:]):
            try:
                value, end = _DECODER.raw_decode(text, start.end())
            except (ValueError, RecursionError):
                continue
            if not text[end:].partition("\n")[0].strip():
                return dict(value)
    raise MissingError(f"the judge printed no JSON object on its standard output: {_shown(text.strip())}")


def _metric_line(name: str) -> str:
    return rf"^METRIC[ \t]+{re.escape(name)}[ \t=:]+(\S+)[ \t]*$"


def _single(found: list[str], what: str) -> float:
    if len(found) != 1:
        times = "no" if not found else f"{len(found)} times a"
        raise MissingError(f"the run printed {times} {what}; exactly one line has to hold the number")
    try:
        return _as_number(float(found[0]), what)
    except ValueError:
        raise MissingError(f"the {what} is not a number: {_shown(found[0])}") from None


def _as_number(value: Any, what: str, *, flags: bool = False) -> float:
    if flags and isinstance(value, bool):
        return float(value)
    if not _is_number(value):
        raise MissingError(f"{what} is not a finite number: {_shown(value)}")
    return float(value)


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    return shortened(repr(value), SHOWN)
