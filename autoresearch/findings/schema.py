"""Validate untrusted JSON as dataclasses by pydantic, write them as JSON again, and publish their JSON Schema.

Files of findings come from other people, so they are checked more strictly than the program's own files (jsonable.py):
"1" is no number and true is no 1, unknown fields are refused, numbers are finite and within bounds, and texts are
limited and hold no character that a terminal or a page would obey.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from autoresearch.formats import CONTROL

T = TypeVar("T")

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
VALUE_CHARS = 60  # characters of a hostile value in a message
BETTER_WORDS = {"unexpected_keyword_argument": "this field is unknown"}  # in better words than pydantic's


class Mismatch(ValueError):
    """The JSON does not fit the type; the text says where and why."""


def _without_controls(text: str) -> str:
    """Return `text`; raise PydanticCustomError where it holds a control character other than a line break or a tab."""
    if found := CONTROL.search(text):
        raise PydanticCustomError("control", "the character {found} is not allowed", {"found": ascii(found[0])})
    return text


def _one_line(text: str) -> str:
    """Return `text`; raise PydanticCustomError where it holds any control character."""
    if found := next((c for c in text if c in "\n\t"), None):
        raise PydanticCustomError("control", "the character {found} is not allowed", {"found": ascii(found)})
    return _without_controls(text)


def _day(text: str) -> str:
    """Return `text`; raise PydanticCustomError where it is no day of the calendar."""
    try:
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("day", "no such day is in the calendar") from None
    return text


Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
CodeHash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
Day = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_day)]  # "2026-11-23"
Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_one_line)]
Prose = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_without_controls)]
SourceText = Annotated[str, StringConstraints(max_length=1_000_000), AfterValidator(_without_controls)]
LiteralText = Annotated[
    str, StringConstraints(max_length=30_000), AfterValidator(_without_controls)
]  # source text of a constant
Identifier = Annotated[str, StringConstraints(max_length=80, pattern="^[A-Za-z_][A-Za-z0-9_.]*$")]
# A constant, a key with its tables, or one of the file before the colon: "conf.toml:server.port".
_KEY = r'([A-Za-z0-9_-]+|"[^"]*")'
ConstantName = Annotated[
    str, StringConstraints(max_length=300, pattern=rf"^([^:]+:)?{_KEY}(\.{_KEY})*$"), AfterValidator(_one_line)
]
Count = Annotated[int, Field(ge=0, le=10**15)]
Runs = Annotated[int, Field(ge=1, le=10**15)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Score = Annotated[float, Field(ge=-1e15, le=1e15)]  # lower is better; of an accuracy it is negative
Positive = Annotated[float, Field(gt=0, le=1e15)]


# --- reading and writing ---------------------------------------------------------------------------------------------


def read(kind: TypeAdapter[T], data: bytes, place: str = "file") -> T:
    """Return the JSON `data` as `kind`. Raises Mismatch naming the place of the first mistake.

    For example: "file.findings[3].n: Input should be a valid integer; this is '1'"
    """
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        raise Mismatch(_told(error.errors(include_url=False)[0], place)) from None


def write(kind: TypeAdapter[T], value: T) -> Any:
    """Return `value` in JSON's own types. A field that has its default is left out: a value has one JSON form."""
    return kind.dump_python(value, mode="json", exclude_defaults=True)


def _told(error: ErrorDetails, place: str) -> str:
    where = place + "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)[1:-1]}" for part in error["loc"])
    kind, value = error["type"], error["input"]
    if kind in BETTER_WORDS or not isinstance(value, str | int | float):
        return f"{where}: {BETTER_WORDS.get(kind, error['msg'])}"
    return f"{where}: {error['msg']}; this is {_shown(value)}"


def _shown(value: str | float) -> str:
    """Return a value of an untrusted file for a message: ASCII, short, without control characters."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a huge number"
    text = ascii(value)
    return text if len(text) <= VALUE_CHARS else f"{text[: VALUE_CHARS - 4]}...{text[-1]}"


# --- the schema ------------------------------------------------------------------------------------------------------


class _Untitled(GenerateJsonSchema):
    """JSON Schema without a title for each field, which would repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema(kind: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of what `read(kind, ...)` accepts."""
    return {"$schema": _Untitled.schema_dialect, **kind.json_schema(schema_generator=_Untitled)}
