"""Dataclasses from JSON and back, strictly: what does not fit is refused, by its place; and their JSON Schema. Pure.

The fields' type hints are the whole specification: bool, int, float, str, Literal, X | None, tuple[X, ...],
tuple[X, Y], Mapping[str, X] and other dataclasses, narrowed by Annotated[..., Text | Number | Many]. A field that has
its default is left out of the JSON, so that each value is written in exactly one way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

# Characters that a terminal or a page obeys instead of showing: controls, line separators, overrides of direction, and
# halves of surrogate pairs, which are no characters.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Mismatch(ValueError):
    """The value does not fit; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Text:
    """Of a str: the most characters, a pattern for the whole of it, and whether it may have several lines."""

    most: int
    pattern: str | None = None
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """Of an int or float: its bounds, both included unless `above`, which the value has to exceed."""

    least: float | None = None
    most: float | None = None
    above: float | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """Of a tuple or Mapping: the most entries."""

    most: int


# --- reading --------------------------------------------------------------------------------------------------------


def decode(hint: type[T], value: Any, place: str = "file") -> T:
    """`value`, from JSON, as `hint`. Raises Mismatch, e.g. "file.runs[3].title: 90 characters; 80 are allowed"."""
    result: T = _decode(hint, value, place)
    return result


def _decode(hint: Any, value: Any, place: str) -> Any:
    hint, bounds = _unwrapped(hint)
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _object(hint, value, place)
    if origin in (Union, UnionType):
        inner = next(arg for arg in args if arg is not NoneType)
        return None if value is None else _decode(inner, value, place)
    if origin is Literal:
        _require(isinstance(value, str) and value in args, place, f"{_shown(value)} is none of {', '.join(args)}")
        return value
    if origin is tuple:
        return _sequence(args, bounds, value, place)
    if origin is Mapping:
        return _mapping(args, bounds, value, place)
    return _scalar(hint, bounds, value, place)


def _object(cls: Any, value: Any, place: str) -> Any:
    _require(isinstance(value, dict), place, f"an object is expected, this is {_shown(value)}")
    hints, known = _hints(cls), {f.name: f for f in fields(cls)}
    unknown = sorted(value.keys() - known.keys())
    _require(not unknown, place, f"unknown fields: {', '.join(map(_shown, unknown[:5]))}")
    missing = [f.name for f in known.values() if _default(f) is MISSING and f.name not in value]
    _require(not missing, place, f"missing fields: {', '.join(missing)}")
    return cls(**{name: _decode(hints[name], entry, f"{place}.{name}") for name, entry in value.items()})


def _sequence(args: tuple[Any, ...], bounds: Any, value: Any, place: str) -> tuple[Any, ...]:
    _require(isinstance(value, list), place, f"a list is expected, this is {_shown(value)}")
    if args[-1] is Ellipsis:
        _require(bounds is None or len(value) <= bounds.most, place, f"{len(value)} entries are too many")
        hints = [args[0]] * len(value)
    else:
        _require(len(value) == len(args), place, f"{len(value)} entries; {len(args)} are expected")
        hints = list(args)
    return tuple(_decode(h, entry, f"{place}[{i}]") for i, (h, entry) in enumerate(zip(hints, value, strict=True)))


def _mapping(args: tuple[Any, ...], bounds: Any, value: Any, place: str) -> dict[str, Any]:
    _require(isinstance(value, dict), place, f"an object is expected, this is {_shown(value)}")
    _require(bounds is None or len(value) <= bounds.most, place, f"{len(value)} entries are too many")
    return {
        _decode(args[0], key, f"the key {_shown(key)} of {place}"): _decode(args[1], entry, f"{place}.{_shown(key)}")
        for key, entry in value.items()
    }


def _scalar(hint: Any, bounds: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        _require(abs(value) < 2**53, place, "the number is too large")
        value = float(value)
    _require(type(value) is hint, place, f"{hint.__name__} is expected, this is {_shown(value)}")
    if isinstance(value, str):
        _check_text(bounds or Text(200), value, place)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(bounds or Number(), value, place)
    return value


def _check_text(bounds: Text, value: str, place: str) -> None:
    _require(len(value) <= bounds.most, place, f"{len(value)} characters; {bounds.most} are allowed")
    strange = UNPRINTABLE.search(value) or (None if bounds.lines else re.search(r"[\n\t]", value))
    _require(strange is None, place, f"the character {strange[0]!a} is not allowed" if strange else "")
    fits = bounds.pattern is None or re.fullmatch(bounds.pattern, value)
    _require(bool(fits), place, f"{_shown(value)} is not of the form {bounds.pattern}")


def _check_number(bounds: Number, value: float, place: str) -> None:
    _require(math.isfinite(value), place, "the number is not finite")
    _require(bounds.least is None or value >= bounds.least, place, f"{value:g} is less than {bounds.least}")
    _require(bounds.most is None or value <= bounds.most, place, f"{value:g} is more than {bounds.most}")
    _require(bounds.above is None or value > bounds.above, place, f"{value:g} is not more than {bounds.above}")


def _require(condition: bool, place: str, otherwise: str) -> None:
    if not condition:
        raise Mismatch(f"{place}: {otherwise}")


def _shown(value: Any) -> str:
    """A hostile value in a message: ASCII, and short."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = ascii(value) if not isinstance(value, int) or abs(value) < 2**63 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."


# --- writing --------------------------------------------------------------------------------------------------------


def encode(value: Any) -> Any:
    """The inverse of `decode`, in JSON's own types."""
    if is_dataclass(value):
        pairs = [(f, getattr(value, f.name)) for f in fields(value)]
        return {f.name: encode(entry) for f, entry in pairs if entry != _default(f)}
    if isinstance(value, Mapping):
        return {key: encode(entry) for key, entry in value.items()}
    return [encode(entry) for entry in value] if isinstance(value, tuple) else value


# --- the schema -----------------------------------------------------------------------------------------------------


def schema(cls: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what `decode(cls, ...)` accepts, field by field."""
    definitions: dict[str, Any] = {}
    top = _schema(cls, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": definitions}


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hint, bounds = _unwrapped(hint)
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _object_schema(hint, definitions)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(arg, definitions) if arg is not NoneType else {"type": "null"} for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple and args[-1] is Ellipsis:
        most = {"maxItems": bounds.most} if bounds else {}
        return {"type": "array", "items": _schema(args[0], definitions), **most}
    if origin is tuple:
        items = [_schema(arg, definitions) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin is Mapping:
        most = {"maxProperties": bounds.most} if bounds else {}
        keys, entries = (_schema(arg, definitions) for arg in args)
        return {"type": "object", "propertyNames": keys, "additionalProperties": entries, **most}
    return _scalar_schema(hint, bounds)


def _object_schema(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = cls.__name__
    if name not in definitions:
        definitions[name] = {}  # taken, before the fields may come back to it
        hints = _hints(cls)
        definitions[name] = {
            "description": " ".join((cls.__doc__ or "").split()),
            "type": "object",
            "properties": {f.name: _schema(hints[f.name], definitions) for f in fields(cls)},
            "required": [f.name for f in fields(cls) if _default(f) is MISSING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _scalar_schema(hint: Any, bounds: Any) -> dict[str, Any]:
    if hint is str:
        text = bounds or Text(200)
        pattern = {"pattern": f"^(?:{text.pattern})$"} if text.pattern else {}
        return {"type": "string", "maxLength": text.most, **pattern}
    if hint is bool:
        return {"type": "boolean"}
    number = bounds or Number()
    limits = {"minimum": number.least, "maximum": number.most, "exclusiveMinimum": number.above}
    return {"type": "integer" if hint is int else "number", **{k: v for k, v in limits.items() if v is not None}}


# --- type hints -----------------------------------------------------------------------------------------------------


def _unwrapped(hint: Any) -> tuple[Any, Any]:
    """The type, and the Text, Number or Many that narrows it."""
    return get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)


@lru_cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _default(f: Field[Any]) -> Any:
    """The default of a field, MISSING where it has none."""
    return f.default_factory() if f.default_factory is not MISSING else f.default
