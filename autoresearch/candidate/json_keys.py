"""Read and set the keys of a JSON file, with its layout kept, and hash files for comparison. No I/O.

Functions that take a source raise SourceError when it is not valid JSON. A list or a scalar has no keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from autoresearch.candidate import keys
from autoresearch.errors import EditError, SourceError

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read(source: str) -> dict[str, Any]:
    """Return the settings, in order: '{"server": {"port": 80}}' -> {"server.port": 80}."""
    return {name: value for name, _, value in keys.named(data(source))}


def literals(source: str) -> dict[str, str]:
    """Return the source text of each value, in order: '{"size": 1e3}' -> {"size": "1e3"}."""
    document = data(source)
    places = dict(_places(source))
    return {name: source[slice(*places[path])] for name, path, _ in keys.named(document)}


def assign(source: str, name: str, literal: str) -> str:
    """Return `source` with the setting `name` set to `literal`, which may be written as in Python, and all else as is.

    assign('{"port": 80}', "port", "81") -> '{"port": 81}'

    Raises EditError as keys.checked does, and for a key that stands twice in its table.
    """
    document = data(source)
    value = keys.checked(name, literal, read(source), _written(literal))
    path = next(path for found, path, _ in keys.named(document) if found == name)
    spans = [span for found, span in _places(source) if found[: len(path)] == path]
    if len(spans) != 1:
        raise EditError(f"SET {name}: it stands in the file {len(spans)} times. Change it with a SEARCH/REPLACE block.")
    text = literal.strip() if repr(_written(literal)) == repr(value) and "\n" not in literal else spelled(value, "")
    start, end = spans[0]
    return f"{source[:start]}{text}{source[end:]}"


def spelled(value: Any, like: str) -> str:
    """Write a value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def normalised(source: str) -> str:
    """Hash what a file says; layout and the spelling of values do not count."""
    return keys.digest(data(source), blank=False)


def structure(source: str) -> str:
    """Hash the keys and what has no name, without the values of the settings."""
    return keys.digest(data(source), blank=True)


def data(source: str) -> Any:
    """Return what a file says."""
    try:
        return _DECODER.decode(source)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"not valid JSON: {error}") from error


def _places(source: str) -> Iterator[tuple[keys.KeyPath, tuple[int, int]]]:
    """Yield each value that is not an object with its path, and where its text starts and ends; the source is valid."""
    at = _skip(source, 0)
    if source[at] == "{":
        yield from _in_object(source, at, ())


def _in_object(source: str, at: int, path: keys.KeyPath) -> Iterator[tuple[keys.KeyPath, tuple[int, int]]]:
    """Yield the places of an object that opens at `at`."""
    at = _skip(source, at + 1)
    while source[at] != "}":
        key, at = _DECODER.raw_decode(source, at)
        at = _skip(source, _skip(source, at) + 1)
        _, end = _DECODER.raw_decode(source, at)
        if source[at] == "{":
            yield from _in_object(source, at, (*path, key))
        else:
            yield (*path, key), (at, end)
        at = _skip(source, end)
        at = _skip(source, at + 1) if source[at] == "," else at


def _skip(source: str, at: int) -> int:
    """Return the next place that is not blank."""
    blank = _BLANK.match(source, at)
    return blank.end() if blank else at


def _written(literal: str) -> Any:
    """Return what JSON reads in a literal, None where it reads nothing."""
    try:
        return _DECODER.decode(literal.strip())
    except (ValueError, RecursionError):
        return None
