from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tasks.command.metric import MissingError, Observed, cases, figures, sizes, source_number


@pytest.mark.parametrize(
    ("source", "seen", "wanted"),
    [
        ("score:json:ms", Observed(judged='{"ms": 1}\nnoise\n{"ms": 2.5, "x": "y"}\nbye 7'), 2.5),
        ("score:json:a.b", Observed(judged='{"a": {"b": 3}}'), 3.0),
        ("score:json:a.b", Observed(judged='{"a.b": 4}'), 4.0),
        ("score:json:ms", Observed(judged='{\n "ms": 5\n}\n'), 5.0),
        ("score:json:ms", Observed(judged='warming {up}\n{\n "ms": 6,\n "rows": [\n  {}\n ]\n}\ndone\n'), 6.0),
        ("score:json:ms", Observed(judged='10%\r100%\r{"ms": 7}\r\n'), 7.0),
        ("score:json:ms", Observed(judged='  {"ms": 8}\n{"ms": 9} is not a whole line\n'), 8.0),
        ("run:line:ms", Observed(printed="METRIC other 1\nMETRIC ms 2e3\nMETRIC msx 4\n"), 2000.0),
        ("run:line:ms", Observed(printed="METRIC ms = 2"), 2.0),
        (r"run:regex:took ([\d.]+) s", Observed(printed="it took 1.5 s"), 1.5),
        ("wall", Observed(wall_s=1.5), 1.5),
        ("size:*.css", Observed(sizes={"size:*.css": 5.0}), 5.0),
    ],
)
def test_a_number_is_found(source: str, seen: Observed, wanted: float) -> None:
    assert source_number(source, seen) == wanted


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("score:json:ms", Observed(judged="Error in line 7")),
        ("score:json:ms", Observed(judged='{"other": 1}')),
        ("score:json:ms", Observed(judged='{"ms": NaN}')),
        ("score:json:ms", Observed(judged='{"ms": Infinity}')),
        ("score:json:ms", Observed(judged='{"ms": "1"}')),
        ("score:json:ms", Observed(judged='{"ms": true}')),
        ("score:json:ms", Observed(judged='{"ms": null}')),
        ("score:json:ms", Observed(judged='{"ms": 1' + "0" * 400 + "}")),
        ("score:json:ms", Observed(printed='{"ms": 1}')),
        ("run:line:ms", Observed(printed="METRIC ms 1\nMETRIC ms 2")),
        ("run:line:ms", Observed(printed="METRIC ms nan")),
        ("run:line:ms", Observed(printed="METRIC ms 1 2")),
        ("run:line:ms", Observed(printed="saw METRIC ms 1")),
        ("run:line:ms", Observed(printed="failed after 12 seconds")),
        ("run:regex:(x)", Observed(printed="x")),
        ("wall", Observed()),
        ("size:*.css", Observed(sizes={"size:*.js": 1.0})),
    ],
)
def test_a_number_that_is_not_there_is_an_error(source: str, seen: Observed) -> None:
    with pytest.raises(MissingError):
        source_number(source, seen)


def test_sizes_are_those_of_the_files_and_of_what_gzip_makes_of_them(tmp_path: Path) -> None:
    files = {"a.css": b"12345", "b/c.css": b"x" * 3_000_000, "d.js": b""}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    found = sizes(["size:**", "size:*.css", "gzip:b/", "gzip:*.txt", "wall"], {path: tmp_path / path for path in files})
    packed = len(gzip.compress(files["b/c.css"], 9, mtime=0))
    assert found == {"size:**": 3_000_005.0, "size:*.css": 5.0, "gzip:b/": float(packed)}


def test_cases_are_a_list_or_an_object_in_the_order_of_its_names() -> None:
    assert cases("score:json:c", Observed(judged='{"c": [1, true, 0.5]}')) == (1.0, 1.0, 0.5)
    assert cases("score:json:c", Observed(judged='{"c": {"b": 1, "a": 2}}')) == (2.0, 1.0)


@pytest.mark.parametrize("text", ['{"c": []}', '{"c": [1, null]}', '{"c": 3}', '{"c": [NaN]}', "{}", '{"c": [[1]]}'])
def test_other_cases_are_refused(text: str) -> None:
    with pytest.raises(MissingError):
        cases("score:json:c", Observed(judged=text))


def test_the_judges_numbers_are_figures() -> None:
    assert figures(Observed(judged='{"a": 1, "b": "x", "c": true, "d": 2.5}')) == {"a": 1.0, "d": 2.5}
    assert figures(Observed()) == {}


@given(st.text())
def test_no_text_of_a_judge_or_a_run_is_an_unexpected_error(text: str) -> None:
    for source in ("score:json:a.b", "run:line:ms", "run:regex:a(.)"):
        try:
            assert math.isfinite(source_number(source, Observed(judged=text, printed=text)))
        except MissingError as error:
            assert str(error)
