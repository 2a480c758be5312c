"""Constants of a source of one file or of several: their names, their values, and the hashes of all files."""

from __future__ import annotations

import pytest

from autoresearch.candidate import constants, python_constants
from autoresearch.candidate.pack import pack, unpack, with_file
from autoresearch.errors import EditError, SourceError

FILES = {
    "run.py": "LIMIT = 8  # rows\nRATE = 0.5\n",
    "conf/a.toml": "LIMIT = 3\n[cache]\nsize = 10 # MB\n",
    "b.json": '{"cache": {"on": true}}\n',
    "query.sql": "SELECT 1;\n",
}
SOURCE = pack(FILES)


def test_a_source_without_paths_has_python_constants() -> None:
    assert constants.read(FILES["run.py"]) == {"LIMIT": 8, "RATE": 0.5}
    assert constants.normalised(FILES["run.py"]) == python_constants.normalised(FILES["run.py"])
    with pytest.raises(SourceError):
        constants.read("def (")


def test_a_name_that_two_files_have_gets_the_path() -> None:
    values = {"run.py:LIMIT": 8, "RATE": 0.5, "conf/a.toml:LIMIT": 3, "cache.size": 10, "cache.on": True}
    assert constants.read(SOURCE) == values
    assert constants.literals(SOURCE) == {**{n: str(v) for n, v in values.items()}, "cache.on": "true"}


@pytest.mark.parametrize(
    ("name", "path", "literal", "file", "text"),
    [
        ("RATE", None, "0.25", "run.py", "LIMIT = 8  # rows\nRATE = 0.25\n"),
        ("LIMIT", None, "9", "run.py", "LIMIT = 9  # rows\nRATE = 0.5\n"),  # the main file's
        ("LIMIT", "conf/a.toml", "9", "conf/a.toml", "LIMIT = 9\n[cache]\nsize = 10 # MB\n"),
        ("conf/a.toml:LIMIT", None, "9", "conf/a.toml", "LIMIT = 9\n[cache]\nsize = 10 # MB\n"),
        ("cache.size", None, "20", "conf/a.toml", "LIMIT = 3\n[cache]\nsize = 20 # MB\n"),
        ("cache.size", "query.sql", "20", "conf/a.toml", "LIMIT = 3\n[cache]\nsize = 20 # MB\n"),  # no other has it
        ("conf/a.toml:cache.size", None, "20", "conf/a.toml", "LIMIT = 3\n[cache]\nsize = 20 # MB\n"),
        ("cache.on", "b.json", "False", "b.json", '{"cache": {"on": false}}\n'),
    ],
)
def test_a_constant_is_set_in_its_file(name: str, path: str | None, literal: str, file: str, text: str) -> None:
    assert constants.assign(SOURCE, name, literal, path) == with_file(SOURCE, file, text)


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("cache.szie", None, "Did you mean cache.size = 10"),
        ("RATES", "query.sql", "no constants or keys"),
        ("cache.no", "b.json", "no such key. Did you mean cache.on"),
        ("LIMIT", "b.json", "no such key. Did you mean cache.on"),
    ],
)
def test_what_cannot_be_set(name: str, path: str | None, message: str) -> None:
    with pytest.raises(EditError, match=message):
        constants.assign(SOURCE, name, "1", path)


def test_a_name_that_only_other_files_have_is_ambiguous() -> None:
    source = pack({"query.sql": "", "a.toml": "n = 1\n", "b.toml": "n = 2\n"})
    with pytest.raises(EditError, match=r"Say which: a\.toml:n, b\.toml:n"):
        constants.assign(source, "n", "3")


def test_what_its_language_refuses_is_plain_text() -> None:
    source = pack(
        {"template.py": "LIMIT = {{ limit }}\n", "tsconfig.json": '{"a": 1, /* why */}\n', "c.toml": "x = 1\n"}
    )
    assert constants.read(source) == {"x": 1}
    assert constants.normalised(source) != constants.normalised(
        with_file(source, "tsconfig.json", '{"a": 2, /* why */}')
    )
    assert constants.problem("c.toml", "x = ") and constants.problem("query.sql", "x = ") is None


def test_hashes_are_of_all_files() -> None:
    same = with_file(SOURCE, "query.sql", "SELECT 1;  \n\n")
    assert constants.normalised(same) == constants.normalised(SOURCE)
    for path, text in unpack(SOURCE).items():
        other = with_file(
            SOURCE, path, text.replace("8", "7").replace("3", "4").replace("true", "false").replace("1;", "2;")
        )
        assert constants.normalised(other) != constants.normalised(SOURCE)
        assert (constants.structure(other) == constants.structure(SOURCE)) is (path != "query.sql")


def test_a_value_is_spelled_as_its_file_spells_it() -> None:
    assert constants.spelled(SOURCE, "cache.on", False) == "false"
    assert constants.spelled("BATCH = 2**16\n", "BATCH", 2**15) == "2**15"


def test_changed_tells_old_and_new() -> None:
    assert constants.changed(SOURCE, constants.assign(SOURCE, "cache.size", "5")) == {"cache.size": (10, 5)}
    assert constants.changed("A = 1\n", "B = 1\n") == {"A": (1, None), "B": (None, 1)}
    assert constants.changed("A = 1\n", "A = True\n") == {"A": (1, True)}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("[false, 1]", [False, 1]), ("null", None), ("2**4", 16)])
def test_literals_of_any_file_have_values(text: str, value: object) -> None:
    assert constants.evaluate(text) == value


@pytest.mark.parametrize("text", ["yes", "{}", "NaN", "2026-11-27x", '{"a": 1}'])
def test_other_texts_have_none(text: str) -> None:
    with pytest.raises(ValueError):
        constants.evaluate(text)
