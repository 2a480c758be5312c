"""Convert dataclasses to JSON and back. No I/O.

Every file and line of JSON that the package reads into a dataclass goes through here, so all of them have the same
rules:

- What is None is left out when written, and what is left out has the field's default when read.
- JSON has no word for NaN and infinity: such a number counts as None.
- Types are checked strictly: "1" is not a number, 1.0 is not an int, but an int may stand for a float.
- Fields that the dataclass does not have are ignored, so that an older program can read what a newer one wrote.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

MOST_TOLD = 3  # mismatches that an error names


class MalformedError(ValueError):
    """The JSON is damaged or does not have the wanted type. The text says where: "runs.0.seed: ... integer"."""


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """Write a value as JSON in ASCII, on one line where no `indent` is given, without an end of line.

    >>> to_json(Set("DEPTH", "6"))
    b'{"name":"DEPTH","literal":"6"}'
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(plain(value), indent=indent, separators=separators, allow_nan=False).encode("ascii")


def from_json(type: type[T], data: bytes | str) -> T:
    """Read a value of a type from JSON. Raises MalformedError.

    >>> from_json(Set, b'{"name":"DEPTH","literal":"6"}')
    Set(name='DEPTH', literal='6', path=None)
    """
    from pydantic import ValidationError

    try:
        value: T = _adapter(cast(Any, type)).validate_json(data, strict=True)
        return value
    except ValidationError as error:
        raise MalformedError(_told(error.errors(include_url=False, include_input=False))) from None


def from_plain(type: type[T], value: Any) -> T:
    """Read a value of a type from what `json.loads` gave, or from anything that `plain` takes. Raises MalformedError.

    >>> from_plain(Set, {"name": "DEPTH", "literal": "6"})
    Set(name='DEPTH', literal='6', path=None)
    """
    return from_json(type, to_json(value))


def exact(data: bytes) -> Any:
    """Return the value in a text of JSON that all readers understand alike. Raises MalformedError.

    Refused are other encodings than UTF-8, NaN, infinity, and a name that appears twice in one object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError("a name appears twice in one object")
        return entries

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise MalformedError("it is nested too deeply") from None
    except ValueError as error:
        raise MalformedError(str(error)[:200]) from None


def plain(value: Any) -> Any:
    """Convert a value to what `json.dumps` takes.

    Dataclasses become objects, numbers of numpy become numbers, sets and tuples become lists, and what JSON has no
    word for becomes its text.

    >>> plain({"a": np.float32(0.5), "b": (1, math.nan), "c": math.inf, "d": None, "e": Path("x")})
    {'a': 0.5, 'b': [1, None], 'e': 'x'}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character is not Unicode
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return _without_absent({f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, Mapping):
        return _without_absent(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    return plain(str(value))


def _without_absent(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {plain(str(k)): entry for k, v in value.items() if (entry := plain(v)) is not None}


@cache
def _adapter(type: Any) -> TypeAdapter[Any]:
    """Build the reader of a type once. pydantic takes 50 ms to import, which a program that reads nothing saves."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it looks for them in every installed package
    from pydantic import TypeAdapter

    return TypeAdapter(type)


def _told(errors: list[Any]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, error['loc']))}: {error['msg']}" if error["loc"] else str(error["msg"])
        for error in errors[:MOST_TOLD]
    )
