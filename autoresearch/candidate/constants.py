"""Read and set the constants of a source, and hash sources for comparison. No I/O.

The constants of train_mlx.py are its module-level ones (python_constants.py). A packed source has those of its Python
files and the keys of its TOML and JSON files. A constant is called by its name where one file has it, and
`path:name` where several have. In a packed source, a file that its language refuses is plain text; without paths,
functions raise SourceError when a source is not valid Python.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Protocol

from autoresearch.candidate import json_keys, keys, plain_text, python_constants, toml_keys
from autoresearch.candidate import literals as lit
from autoresearch.candidate.pack import is_packed, unpack, with_file
from autoresearch.errors import EditError, SourceError

CACHED = 256  # files that are read and hashed; most versions of a night differ in one file


class Language(Protocol):
    """What a kind of files has as constants. The functions raise SourceError for a text that is not of the language."""

    def read(self, source: str) -> dict[str, Any]: ...
    def literals(self, source: str) -> dict[str, str]: ...
    def assign(self, source: str, name: str, literal: str) -> str: ...
    def spelled(self, value: Any, like: str) -> str: ...
    def normalised(self, source: str) -> str: ...
    def structure(self, source: str) -> str: ...


_ELEMENT = re.compile(r"(.+)\[(\d{1,4})\]")
LANGUAGES: dict[str, Language] = {".py": python_constants, ".toml": toml_keys, ".json": json_keys}  # by a path's end


@dataclass(frozen=True, slots=True)
class Place:
    """File that has a constant, and the constant's name there."""

    path: str
    name: str


def language(path: str, text: str) -> Language:
    """Return the language of a file: plain text where it is of none, or where the text is not valid in it."""
    found = next((of for end, of in LANGUAGES.items() if path.lower().endswith(end)), None)
    return found if found is not None and _is_valid(path, text) else plain_text


@lru_cache(CACHED)
def _is_valid(path: str, text: str) -> bool:
    return problem(path, text) is None


def problem(path: str, text: str) -> str | None:
    """Say why a text is not in the language of its file's name: "not valid TOML: ..."; None where it may be."""
    for end, of in LANGUAGES.items():
        if path.lower().endswith(end):
            try:
                of.literals(text)
                of.normalised(text)
            except SourceError as error:
                return str(error)
    return None


# --- constants --------------------------------------------------------------------------------------------------------


def read(source: str) -> dict[str, Any]:
    """Return the constants and their values, in order.

    read("DEPTH = 8\\nBATCH = 2**16  # tokens\\nHEADS = DEPTH // 2\\n") -> {"DEPTH": 8, "BATCH": 65536}
    """
    if not is_packed(source):
        return python_constants.read(source)
    files = unpack(source)
    return {key: _known(place.path, files[place.path])[place.name][0] for key, place in places(source).items()}


def literals(source: str) -> dict[str, str]:
    """Return the constants and the source text of their values, in order.

    literals("DEPTH = 8\\nBATCH = 2**16  # tokens\\n") -> {"DEPTH": "8", "BATCH": "2**16"}
    """
    if not is_packed(source):
        return python_constants.literals(source)
    files = unpack(source)
    return {key: _known(place.path, files[place.path])[place.name][1] for key, place in places(source).items()}


def evaluate(text: str) -> Any:
    """Return the value of a literal or of arithmetic of literals. Raises ValueError for any other expression.

    evaluate("2**16") -> 65536; evaluate("[true, 1]") -> [True, 1], as TOML and JSON write them
    """
    try:
        return lit.evaluate(text)
    except ValueError as error:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise error from None
        if not keys.is_setting(value):
            raise
        return value


@lru_cache(CACHED)
def places(source: str) -> dict[str, Place]:
    """Return where the constants of a packed source are, by the names that `read` gives them."""
    found = [Place(path, name) for path, text in unpack(source).items() for name in _known(path, text)]
    counts = Counter(place.name for place in found)
    return {place.name if counts[place.name] == 1 else f"{place.path}:{place.name}": place for place in found}


@lru_cache(CACHED)
def _known(path: str, text: str) -> dict[str, tuple[Any, str]]:
    """Return the values and the literals of a file's constants."""
    of = language(path, text)
    values = of.read(text)
    return {name: (values[name], literal) for name, literal in of.literals(text).items()}


def named(source: str, name: str, path: str | None = None) -> str:
    """Return what `read` calls the constant `name` of the file `path`; without one, of the only or the main file.

    A name that one file has is that file's, whatever `path` is. A source without paths, and a constant that is not
    there, give the name as it is. Raises EditError for a name that several files have, of which none is the main one.
    """
    if not is_packed(source):
        return name
    known = places(source)
    if path is None and name in known:
        return name
    full = [key for key, place in known.items() if f"{place.path}:{place.name}" == name]
    wanted = full or [key for key, place in known.items() if place.name == name and path in (None, place.path)]
    main = [key for key in wanted if known[key].path == next(iter(unpack(source)))]
    if len(wanted) > 1 and not main:
        raise EditError(f"SET {name}: several files have it. Say which: {', '.join(wanted)}.")
    return next(iter([*main, *wanted]), name)


def whole(source: str, name: str, literal: str, path: str | None = None) -> tuple[str, str]:
    """Return the name and the literal of a constant of which `name` may be an element: `weights[0]` of `weights`.

    Any other name and literal are returned as they are, but with the name that `read` has. Raises EditError.
    """
    element = _ELEMENT.fullmatch(name)
    known = named(source, name, path)
    if element is None or not is_packed(source) or known in places(source):
        return known, literal
    known, at = named(source, element[1], path), int(element[2])
    old = read(source).get(known)
    if not isinstance(old, list | tuple):
        return known, literal
    if at >= len(old):
        raise EditError(f"SET {name}: {known} has {len(old)} elements, from {known}[0] on.")
    try:
        value = evaluate(literal)
    except ValueError as error:
        raise EditError(f"SET {name} = {literal}: the value has to be a literal such as {old[at]!r}.") from error
    return known, spelled(source, known, type(old)([*old[:at], value, *old[at + 1 :]]))


def assign(source: str, name: str, literal: str, path: str | None = None) -> str:
    """Return `source` with the constant `name` (of the file `path`) set to `literal`, and all else as it is.

    assign("DEPTH = 8  # layers\\n", "DEPTH", "6") -> "DEPTH = 6  # layers\\n"

    A formula over a Python source's constants is replaced by its value: assign("LR = 0.04\\n", "LR", "LR * 1.5") ->
    "LR = 0.06\\n". Raises EditError when the name is unknown (the message names the closest ones), when `literal` is
    neither, and when its type differs from that of the present value.
    """
    if not is_packed(source):
        return python_constants.assign(source, name, literal)
    files, known = unpack(source), places(source)
    place = known.get(named(source, name, path))
    if place is None and path is not None:
        place = Place(path, name)  # so that its language says what it has instead
    if place is None:
        raise EditError(_unknown(source, name))
    text = files[place.path]
    return with_file(source, place.path, language(place.path, text).assign(text, place.name, literal))


def spelled(source: str, name: str, value: Any) -> str:
    """Write a value for the constant `name` in the style of its present literal."""
    like = literals(source)[name]
    if not is_packed(source):
        return python_constants.spelled(value, like)
    place = places(source)[name]
    return language(place.path, unpack(source)[place.path]).spelled(value, like)


def changed(old: str, new: str) -> dict[str, tuple[Any, Any]]:
    """Return the constants whose values differ, as name -> (old, new); None stands for a constant that is not there.

    changed("A = 1\\nB = 2\\n", "A = 3\\nB = 2\\n") -> {"A": (1, 3)}
    """
    before, after = read(old), read(new)
    names = list(dict.fromkeys([*before, *after]))
    return {n: (before.get(n), after.get(n)) for n in names if repr(before.get(n)) != repr(after.get(n))}


def _unknown(source: str, name: str) -> str:
    known = literals(source)
    closest: Sequence[str] = get_close_matches(name[:80], known, n=3, cutoff=0.5) or list(known)[:8]
    suggestions = ", ".join(f"{other} = {known[other]}" for other in closest)
    return f"SET {name}: there is no such constant or key. Did you mean {suggestions or 'a SEARCH/REPLACE block'}"


# --- hashes -----------------------------------------------------------------------------------------------------------


def normalised(source: str) -> str:
    """Hash what `source` does; comments, docstrings, layout and the spelling of constants do not count.

    Of files in other languages than Python, TOML and JSON only blanks at the ends of lines do not count.
    """
    return _hashed(source, lambda of, text: of.normalised(text))


def structure(source: str) -> str:
    """Hash the code alone: as `normalised`, with the values of the constants blanked."""
    return _hashed(source, lambda of, text: of.structure(text))


def _hashed(source: str, form: Callable[[Language, str], str]) -> str:
    if not is_packed(source):
        return form(python_constants, source)
    hashes = [f"{path} {form(language(path, text), text)}" for path, text in unpack(source).items()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]
