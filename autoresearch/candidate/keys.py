"""Treat the keys of a document of tables, TOML or JSON, as constants: name, check and hash them. No I/O.

A key is named by its place, `table.key`. Its value is a scalar or a list of scalars; tables in lists have no names.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from autoresearch.candidate import literals as lit
from autoresearch.errors import EditError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_WORDS = {"true": True, "false": False}

KeyPath = tuple[str, ...]  # ("server", "port") of the key `server.port`


def named(document: Any) -> Iterator[tuple[str, KeyPath, Any]]:
    """Yield the keys of a document that have a name, with their paths and values, in order.

    >>> [name for name, _, _ in named({"server": {"port": 80, "a.b": 1}, "rules": [{"x": 1}]})]
    ['server.port', 'server."a.b"']
    """
    for path, value in _leaves(document, ()):
        if is_setting(value):
            yield _name(path), path, value


def names(document: Any) -> list[str]:
    """Return the names of all keys of a document but of those that hold a table, settings or not.

    >>> names({"port": float("nan"), "rules": [{"x": 1}]})
    ['port', 'rules']
    """
    return [_name(path) for path, _ in _leaves(document, ())]


def _name(path: KeyPath) -> str:
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in path)


def _leaves(table: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in table.items() if isinstance(table, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def is_setting(value: Any) -> bool:
    """Return whether a value is a finite scalar of the kinds that Python's literals have, or a list of such."""
    if isinstance(value, list):
        return all(not isinstance(element, list) and is_setting(element) for element in value)
    whole = isinstance(value, int) and value.bit_length() > lit.MAX_BITS
    return isinstance(value, bool | int | float | str | None) and not whole and lit.finite(value)


def checked(name: str, literal: str, known: Mapping[str, Any], written: Any) -> Any:
    """Return the value of `literal` for the key `name` of a document that has the settings `known`.

    `written` is what the document's language reads in `literal`, None where it reads nothing. Raises EditError when the
    name is unknown, and when the literal has no value or one of another type.
    """
    if name not in known:
        raise EditError(_unknown(name, known))
    old, shown = known[name], textwrap.shorten(literal, 60)
    plain = lit.unquoted(literal.strip(), old)
    value = written if plain == literal.strip() else None
    if value is None:
        try:
            value = _value(plain, old, known)
        except ValueError as error:
            raise EditError(f"SET {name} = {shown}: the value has to be a literal such as {old!r}.") from error
    if not is_setting(value):
        raise EditError(f"SET {name} = {shown}: the value has to be finite, and a scalar or a list of scalars.")
    if not _may_replace(old, value):
        raise EditError(
            f"SET {name} = {shown}: {name} is {lit.kind(old)} ({old!r}) and the new value is {lit.kind(value)}. "
            "Give a value of the same type, or change the lines with a SEARCH/REPLACE block."
        )
    return _as_floats(old, value)


def _as_floats(old: Any, new: Any) -> Any:
    """Return a value with floats where the old one has them: 1 in place of 0.5 -> 1.0."""
    if isinstance(old, list) and len(old) == len(new):
        return [_as_floats(*pair) for pair in zip(old, new, strict=True)]
    return float(new) if isinstance(old, float) else new


def _value(text: str, old: Any, known: Mapping[str, Any]) -> Any:
    """Return the value of a literal that is written as in Python, or of a bare word where there is a string now."""
    if isinstance(old, bool) and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if isinstance(old, str) and _WORD.fullmatch(text):
        return text
    value = lit.evaluate(lit.without_names(text, lambda: dict(known)))
    return list(value) if isinstance(value, tuple) else value


def _may_replace(old: Any, new: Any) -> bool:
    """Return whether a value is of the type of the old one; a list of strings may have any length."""
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(element, str) for element in [*old, *new]):
        return True
    return lit.same_kind(old, new)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    closest = get_close_matches(name[:80], known, n=3, cutoff=0.5) or list(known)[:8]
    suggestions = ", ".join(f"{other} = {known[other]!r}" for other in closest)
    return f"SET {name}: there is no such key. Did you mean {suggestions or 'a SEARCH/REPLACE block'}"


def digest(document: Any, *, blank: bool) -> str:
    """Hash a document; the order of its keys counts, and with `blank` the values of its settings do not."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {"table": [[key, plain(item)] for key, item in value.items()]}
        if blank and is_setting(value):
            return None
        if isinstance(value, list):
            return [plain(item) for item in value]
        return repr(value)

    text = json.dumps(plain(document))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def count(document: Any) -> int:
    """Count the keys of a document and the elements of its lists."""
    if isinstance(document, Mapping):
        return sum(1 + count(value) for value in document.values())
    return sum(1 + count(element) for element in document) if isinstance(document, list) else 0
