"""Dataclasses as JSON: what is written is read again, and what has another type is refused with its place."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoresearch.jsonable import MalformedError, exact, from_json, from_plain, plain, to_json
from testbed.toy import ROOT


@dataclass(frozen=True)
class Point:
    x: float
    name: str | None = None


@dataclass(frozen=True)
class Line:
    points: tuple[Point, ...] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    closed: bool = False


def test_what_is_written_is_read_again() -> None:
    line = Line((Point(1.5, "ü"), Point(-2.0)), {"a": 3})
    assert to_json(line) == b'{"points":[{"x":1.5,"name":"\\u00fc"},{"x":-2.0}],"widths":{"a":3},"closed":false}'
    assert from_json(Line, to_json(line)) == line
    assert from_json(Line, to_json(line, indent=1)) == line
    assert from_plain(Line, {"points": [{"x": 1}], "unknown": 1}) == Line((Point(1.0),))
    assert from_json(tuple[Point, ...], '[{"x": 1}]') == (Point(1.0),)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"points": [{"x": 1}, {"x": "1"}]}, "points.1.x: Input should be a valid number"),
        ({"points": [{}]}, "points.0.x: Field required"),
        ({"widths": {"a": 1.0}}, "widths.a: Input should be a valid integer"),
        ({"closed": 1}, "closed: Input should be a valid boolean"),
        ([], "Input should be an object"),
    ],
)
def test_another_type_is_refused_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(MalformedError) as error:
        from_plain(Line, value)
    assert str(error.value) == told


@pytest.mark.parametrize("data", [b"", b"{", b'{"x": 1} 2', b"\xff", b"[" * 90_000, b'{"x":"\\ud800"}'])
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        from_json(Point, data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "twice in one object"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        ("{}".encode("utf-16"), "decode byte"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 10_000, "digits"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_readers_understand_differently_is_refused(data: bytes, told: str) -> None:
    assert exact(b' {"a": [1, null, "\xc3\xbc"]}\n') == {"a": [1, None, "ü"]}
    with pytest.raises(MalformedError, match=told):
        exact(data)


def test_what_json_has_no_word_for() -> None:
    assert plain({"a": np.float32(0.5), "b": np.int64(3), 5: Path("x"), "s": {1}}) == {
        "a": 0.5,
        "b": 3,
        "5": "x",
        "s": [1],
    }
    assert plain({"a": None, "b": math.nan, "c": [math.inf, 1.0]}) == {"c": [None, 1.0]}
    assert from_json(Point, to_json({"x": 1, "name": "a\ud800b\n"})) == Point(1.0, "a\ufffdb\n")


def test_a_program_that_reads_nothing_does_not_wait_for_pydantic() -> None:
    code = "import sys, autoresearch.record.journal, autoresearch.jsonable; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Why a module reads JSON by itself: from_json and exact read all else.
BY_HAND = {
    "candidate/json_keys": "a person's file, whose layout and comments stay",
    "candidate/constants": "a literal of a candidate's file",
    "measure/checkpoint": "the header of a safetensors file, where a key may not stand twice",
    "record/codec": "an event's type says which dataclass the rest of it is",
    "search/llm/choices": "a model's answer, of any shape",
    "search/llm/transport": "what a model server streams",
    "serve/events": "an event of the journal is passed on as it is",
    "system/machine": "system_profiler's report",
    "system/pipes": "an event of a child, which child_events.py checks",
    "tasks/command/contract": "whether a candidate's file is JSON",
    "tasks/command/floor": "a text of a program that it writes",
    "tasks/command/metric": "what the judge of a declared task prints",
    "tasks/gpt/data/files": "a row of a person's text, in the column that they name",
    "tasks/gpt/sample_child": "a child that holds no package beside the harness",
}


READERS = ("json.load", "json.loads", "json.JSONDecoder")


@pytest.mark.slow
def test_json_is_read_by_hand_only_for_a_reason() -> None:
    found = set()
    for path in (ROOT / "autoresearch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in READERS:
                found.add(path.relative_to(ROOT / "autoresearch").with_suffix("").as_posix())
    assert found - {"jsonable"} == BY_HAND.keys()
