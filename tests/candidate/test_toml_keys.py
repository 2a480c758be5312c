"""Keys of TOML files: read, and set with every other character as it was."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import toml_keys
from autoresearch.errors import EditError, SourceError

SOURCE = """\
# A comment with size = 99
title = 'A "title"'   # literal string
size = 0x10 # bytes

words = [ "a", # the first
  "b",
]
ratio = 0.5
on = true
day = 2026-11-27
[server]   # é
port = 8_080
"quoted key".deep = [1, 2.5]
limits = { low = 1, high = 10 } # inline
[server.tls]
level = 3
[[rules]]
weight = 1
"""


def test_reads_scalars_and_lists_of_them_by_their_place() -> None:
    assert toml_keys.read(SOURCE) == {
        "title": 'A "title"',
        "size": 16,
        "words": ["a", "b"],
        "ratio": 0.5,
        "on": True,
        "server.port": 8080,
        'server."quoted key".deep': [1, 2.5],
        "server.limits.low": 1,
        "server.limits.high": 10,
        "server.tls.level": 3,
    }
    literals = toml_keys.literals(SOURCE)
    assert (literals["size"], literals["server.port"], literals["title"]) == ("0x10", "8_080", "'A \"title\"'")


@pytest.mark.parametrize(
    ("name", "literal", "old", "new"),
    [
        ("size", "32", "0x10", "32"),
        ("size", "2**5", "0x10", "32"),
        ("size", "0x20  # more", "0x10", "32"),
        ("ratio", "1", "0.5", "1.0"),
        ("ratio", "ratio * 1.5", "0.5", "0.75"),
        ("on", "False", "true", "false"),
        ("title", "plain", "'A \"title\"'", '"plain"'),
        ("title", "'new'", "'A \"title\"'", "'new'"),
        ("words", "['c']", '[ "a", # the first\n  "b",\n]', "['c']"),
        ("server.port", "9_000", "8_080", "9_000"),
        ('server."quoted key".deep', "(3, 4)", "[1, 2.5]", "[3, 4.0]"),
        ("server.limits.high", "20", "high = 10", "high = 20"),
        ("server.tls.level", "4", "level = 3", "level = 4"),
    ],
)
def test_a_key_is_set_and_all_else_stays(name: str, literal: str, old: str, new: str) -> None:
    assert toml_keys.assign(SOURCE, name, literal) == SOURCE.replace(old, new)


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("server.prot", "1", "no such key. Did you mean server.port = 8080"),
        ("size", "1.5", "size is a whole number"),
        ("size", "true", "the new value is True or False"),
        ("on", "1", "on is True or False"),
        ("ratio", "inf", "finite"),
        ("ratio", "half of it", "has to be a literal"),
        ("size", "1\nother = 2", "has to be a literal"),
        ("words", "[1]", "words is a list of 2"),
        ("server", "1", "no such key"),
        ("rules", "1", "no such key"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, literal: str, message: str) -> None:
    with pytest.raises(EditError, match="SET") as caught:
        toml_keys.assign(SOURCE, name, literal)
    assert message in str(caught.value)


def test_a_key_is_set_where_an_array_stands_between_the_parts_of_a_table() -> None:
    source = "[a.low]\nx = 1\n[[rules]]\nx = 1  # of a rule\n[a.high]\nx = 1\n"
    assert toml_keys.assign(source, "a.high.x", "2") == source[:-2] + "2\n"


@pytest.mark.parametrize("source", ["a = ", "a = 1\na = 2", "[" * 5000, "a = " + "9" * 5000, "{"])
def test_no_toml_is_a_source_error(source: str) -> None:
    for function in (toml_keys.read, toml_keys.literals, toml_keys.normalised, toml_keys.structure):
        with pytest.raises(SourceError, match="not valid TOML"):
            function(source)


def test_hashes_ignore_comments_layout_and_spelling() -> None:
    same = SOURCE.replace("0x10 # bytes", "16").replace('[ "a", # the first\n  "b",\n]', '["a", "b"]')
    assert toml_keys.normalised(same) == toml_keys.normalised(SOURCE)
    other = toml_keys.assign(SOURCE, "size", "17")
    assert toml_keys.normalised(other) != toml_keys.normalised(SOURCE)
    assert toml_keys.structure(other) == toml_keys.structure(SOURCE)
    assert toml_keys.structure(SOURCE.replace("weight = 1", "mass = 1")) != toml_keys.structure(SOURCE)
    assert toml_keys.structure(SOURCE.replace("2026-11-27", "2026-11-28")) != toml_keys.structure(SOURCE)


# --- any document -----------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", "h", "1"])
SCALARS = st.sampled_from(
    ["1", "0x1F", "-3", "1_0", "0.5", "1e-3", "true", '"s"', "'l # x'", '"""m\n\\"#"""', "'''\nn\n'''", '"é\\u00e9"']
)
LISTS = st.lists(SCALARS, max_size=3).map(lambda values: "[ " + ", # c\n ".join(values) + " ]")
INLINE = st.dictionaries(KEYS, SCALARS, max_size=2).map(
    lambda d: "{ " + ", ".join(f"{k}={v}" for k, v in d.items()) + " }"
)
LINES = st.tuples(
    KEYS, st.sampled_from([" = ", "=", "\t=  "]), SCALARS | LISTS | INLINE, st.sampled_from(["", " # x = 1"])
)
HEADS = st.tuples(KEYS, st.booleans(), KEYS).map(lambda t: f"[{t[0]}.{t[2]}]" if t[1] else f"[{t[0]}] # head")
DOTTED = st.tuples(KEYS, KEYS, SCALARS).map(lambda t: f"{t[0]}.{t[1]} = {t[2]}")
DOCUMENTS = st.lists(
    LINES.map("".join) | HEADS | DOTTED | st.sampled_from(["", "# note", "[[rules]]", "  "]), max_size=8
).flatmap(lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(lines)))
VALUES = st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9) | st.booleans() | st.text("a #\"'\\\n\té", max_size=6)


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS, st.data())
def test_setting_any_key_of_any_document_changes_only_its_value(source: str, data: st.DataObject) -> None:
    try:
        values, literals = toml_keys.read(source), toml_keys.literals(source)
    except SourceError:
        return
    assert values.keys() == literals.keys()
    for name, value in values.items():
        assert tomllib.loads(f"v = {literals[name]}")["v"] == value
        new: Any = data.draw(VALUES.filter(lambda v, old=value: type(v) is type(old))) if _is_scalar(value) else value
        try:
            changed = toml_keys.assign(source, name, toml_keys.spelled(new, ""))
        except EditError:
            assert isinstance(value, list)  # of dates or of strings with line ends, which have no literal on one line
            continue
        assert toml_keys.read(changed) == {**values, name: new}
        assert _outside(source, literals[name], changed)


def _is_scalar(value: Any) -> bool:
    return type(value) in (int, float, bool, str)


def _outside(source: str, literal: str, changed: str) -> bool:
    """Return whether `changed` is `source` with one place of `literal` replaced."""
    places = [at for at in range(len(source)) if source.startswith(literal, at)]
    after = [source[at + len(literal) :] for at in places]
    return any(
        changed.startswith(source[:at]) and changed.endswith(rest) for at, rest in zip(places, after, strict=True)
    )
