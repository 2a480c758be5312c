from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tasks.command.metric import MissingError, Observed, cases, figures, number


@pytest.mark.parametrize(
    ("source", "seen", "wanted"),
    [
        ("score:json:ms", Observed(judged='{"ms": 1}\nnoise\n{"ms": 2.5, "x": "y"}\nbye 7'), 2.5),
        ("score:json:a.b", Observed(judged='{"a": {"b": 3}}'), 3.0),
        ("score:json:a.b", Observed(judged='{"a.b": 4}'), 4.0),
        ("score:json:ms", Observed(judged='{\n "ms": 5\n}\n'), 5.0),
        ("run:line:ms", Observed(printed="METRIC other 1\nMETRIC ms 2e3\nMETRIC msx 4\n"), 2000.0),
        ("run:line:ms", Observed(printed="METRIC ms = 2"), 2.0),
        (r"run:regex:took ([\d.]+) s", Observed(printed="it took 1.5 s"), 1.5),
        ("wall", Observed(wall_s=1.5), 1.5),
        ("size:*.css", Observed(files={"a.css": b"12345", "b.js": b"1"}), 5.0),
        ("gzip:a", Observed(files={"a": b"a" * 1000}), float(len(gzip.compress(b"a" * 1000, 9, mtime=0)))),
    ],
)
def test_a_number_is_found(source: str, seen: Observed, wanted: float) -> None:
    assert number(source, seen) == wanted


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
        ("size:*.css", Observed(files={"a.js": b""})),
    ],
)
def test_a_number_that_is_not_there_is_an_error(source: str, seen: Observed) -> None:
    with pytest.raises(MissingError):
        number(source, seen)


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
        with pytest.raises(MissingError):
            number(source, Observed(judged=text, printed=text))
