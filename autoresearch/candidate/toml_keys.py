"""Read and set the keys of a TOML file, with comments and layout kept, and hash files for comparison. No I/O.

Functions that take a source raise SourceError when it is not valid TOML.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

from autoresearch.candidate import keys
from autoresearch.errors import EditError, SourceError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

CACHED = 64  # sources that are read
_MARK = "a value that no file has: \x01"


def read(source: str) -> dict[str, Any]:
    """Return the settings, in order: "[server]\\nport = 80\\n" -> {"server.port": 80}."""
    return {name: value for name, _, value in keys.named(data(source))}


def literals(source: str) -> dict[str, str]:
    """Return the source text of each value, in order: "size = 0x10 # bytes\\n" -> {"size": "0x10"}."""
    document = _document(source)
    return {name: _text(document, path) for name, path, _ in keys.named(data(source))}


def assign(source: str, name: str, literal: str) -> str:
    """Return `source` with the setting `name` set to `literal`, which may be written as in Python, and all else as is.

    assign("port = 80  # of the server\\n", "port", "81") -> "port = 81  # of the server\\n"

    Raises EditError as keys.checked does, and where a value cannot be replaced in its place.
    """
    document = data(source)
    value = keys.checked(name, literal, read(source), _written(literal))
    same = repr(_written(literal)) == repr(value) and not any(sign in literal for sign in "#\n\r")
    text = literal.strip() if same else spelled(value, "")
    path = next(path for found, path, _ in keys.named(document) if found == name)
    _at(document, path[:-1])[path[-1]] = value
    for before, after in _around(source, path):
        changed = f"{before}{text}{after}"
        if _says(changed, document):
            return changed
    raise EditError(f"SET {name} = {literal}: the value cannot stand in that place. Use a SEARCH/REPLACE block.")


def _says(source: str, document: dict[str, Any]) -> bool:
    try:
        return repr(data(source)) == repr(document)
    except SourceError:
        return False


def spelled(value: Any, like: str) -> str:
    """Write a value as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(spelled(element, like) for element in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)  # Python's are TOML's: 1e-05, 0.5
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def normalised(source: str) -> str:
    """Hash what a file says; comments, layout and the spelling of values do not count."""
    return keys.digest(data(source), blank=False)


def structure(source: str) -> str:
    """Hash the keys and what has no name, without the values of the settings."""
    return keys.digest(data(source), blank=True)


def data(source: str) -> dict[str, Any]:
    """Return what a file says."""
    try:
        return tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"not valid TOML: {error}") from error


@lru_cache(CACHED)
def _document(source: str) -> TOMLDocument:
    """Return the document with its layout, which nobody changes."""
    return _parsed(source)


def _parsed(source: str) -> TOMLDocument:
    import tomlkit  # takes 60 ms, which only a task with a TOML file pays
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(source)
    except (TOMLKitError, RecursionError) as error:  # what it refuses and tomllib reads
        raise SourceError(f"not valid TOML: {error}") from error


def _at(document: Any, path: keys.KeyPath) -> Any:
    return reduce(lambda table, key: table[key], path, document)


def _text(document: Any, path: keys.KeyPath) -> str:
    """Return the text of the value at `path`."""
    item = _at(document, path)
    return spelled(item, "") if isinstance(item, bool) else str(item.as_string())  # tomlkit gives bools as Python's


def _around(source: str, path: keys.KeyPath) -> Iterator[tuple[str, str]]:
    """Yield the source before and after the value at `path`, or what may be it, where tomlkit moves other tables."""
    document = _parsed(source)
    old = _text(document, path)
    _at(document, path[:-1])[path[-1]] = _MARK
    before, _, after = document.as_string().partition(spelled(_MARK, ""))
    if before + old + after == source:
        yield before, after
    else:
        yield from ((source[: found.start()], source[found.end() :]) for found in re.finditer(re.escape(old), source))


def _written(literal: str) -> Any:
    """Return what TOML reads in a literal, None where it reads nothing."""
    try:
        found = tomllib.loads(f"value = {literal.strip()}")
    except (ValueError, RecursionError):
        return None
    return found["value"] if found.keys() == {"value"} else None
