"""Keys of JSON files: read, and set with every other character as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import json_keys
from autoresearch.errors import EditError, SourceError

SOURCE = """\
{ "title" : "A \\u0022title\\u0022",
  "size":1e3, "on": true, "none": null,
\t"words": [ "a",
    "b" ],
  "server": { "port": 8080, "a.b": { "deep": [1, 2.5] }, "empty": {} },
  "rules": [ { "weight": 1 } ]
}
"""


def test_reads_scalars_and_lists_of_them_by_their_place() -> None:
    assert json_keys.read(SOURCE) == {
        "title": 'A "title"',
        "size": 1000.0,
        "on": True,
        "none": None,
        "words": ["a", "b"],
        "server.port": 8080,
        'server."a.b".deep': [1, 2.5],
    }
    assert json_keys.literals(SOURCE)["size"] == "1e3"


@pytest.mark.parametrize(
    ("name", "literal", "old", "new"),
    [
        ("size", "2e3", "1e3", "2e3"),
        ("size", "500", "1e3", "500.0"),
        ("on", "False", "true", "false"),
        ("title", "'new'", '"A \\u0022title\\u0022"', '"new"'),
        ("title", "plain", '"A \\u0022title\\u0022"', '"plain"'),
        ("words", '["c"]', '[ "a",\n    "b" ]', '["c"]'),
        ("server.port", "2**13 + 1", "8080", "8193"),
        ("server.port", '"81"', "8080", "81"),
        ('server."a.b".deep', "(3, 4)", "[1, 2.5]", "[3, 4.0]"),
        ("none", "3", "null", "3"),
    ],
)
def test_a_key_is_set_and_all_else_stays(name: str, literal: str, old: str, new: str) -> None:
    assert json_keys.assign(SOURCE, name, literal) == SOURCE.replace(old, new)


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("server.prot", "1", "Did you mean server.port = 8080"),
        ("on", "1", "on is True or False"),
        ("size", "NaN", "has to be finite"),
        ("server.port", "{}", "has to be finite, and a scalar"),
        ("rules", "1", "no such key"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, literal: str, message: str) -> None:
    with pytest.raises(EditError) as caught:
        json_keys.assign(SOURCE, name, literal)
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ['{"a": 1, "a": 2}', '{"a": {"b": 1}, "a": 2}', '{"b": {"a": 1}, "b": {"a": 2}}'])
def test_a_key_that_stands_twice_is_not_set(source: str) -> None:
    name = next(iter(json_keys.read(source)))
    with pytest.raises(EditError, match="2 times"):
        json_keys.assign(source, name, "3")


@pytest.mark.parametrize("source", ["", "{", '{"a": 1} x', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_no_json_is_a_source_error(source: str) -> None:
    for function in (json_keys.read, json_keys.literals, json_keys.normalised, json_keys.structure):
        with pytest.raises(SourceError, match="not valid JSON"):
            function(source)


def test_hashes_ignore_layout_and_spelling() -> None:
    assert json_keys.normalised(json.dumps(json.loads(SOURCE))) == json_keys.normalised(SOURCE)
    other = json_keys.assign(SOURCE, "on", "false")
    assert json_keys.normalised(other) != json_keys.normalised(SOURCE)
    assert json_keys.structure(other) == json_keys.structure(SOURCE)
    assert json_keys.structure(SOURCE.replace("weight", "mass")) != json_keys.structure(SOURCE)


SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=6)
DOCUMENTS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(DOCUMENTS, st.sampled_from([None, 1, "\t "]), st.booleans(), SCALARS)
def test_setting_any_key_of_any_document_changes_only_its_value(
    document: dict[str, Any], indent: str | int | None, ascii_only: bool, new: Any
) -> None:
    source = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    for name, value in json_keys.read(source).items():
        if type(new) is not type(value):
            continue
        changed = json_keys.assign(source, name, json_keys.spelled(new, "")) if new is not None else source
        assert json_keys.read(changed) == {**json_keys.read(source), name: new}
        literal = json_keys.literals(source)[name]
        parts = [source[:at] + changed_part for at, changed_part in _cuts(source, literal, json_keys.spelled(new, ""))]
        assert changed in [source, *parts]


def _cuts(source: str, literal: str, new: str) -> list[tuple[int, str]]:
    """Return each place of `literal`, with the source from there on when it is replaced by `new`."""
    places = [at for at in range(len(source)) if source.startswith(literal, at)]
    return [(at, new + source[at + len(literal) :]) for at in places]


@pytest.mark.parametrize("source", ["[1, {}]", " 3 ", "null"])
def test_what_is_no_object_has_no_keys(source: str) -> None:
    assert json_keys.read(source) == json_keys.literals(source) == {}
    assert json_keys.normalised(source) == json_keys.normalised(source.strip()) != json_keys.normalised("[]")
