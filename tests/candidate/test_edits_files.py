"""Edits of a source of several files: each finds its file, and the reply's text holds it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate import edits
from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import EditError, NothingNewError
from autoresearch.records import Edit, ReplaceDefinition, SearchReplace, Set, WholeFile

FILES = {
    "src/run.py": "LIMIT = 8\n\n\ndef f():\n    return 1\n",
    "conf.toml": "LIMIT = 3\nsize = 10 # MB\n# the end\n",
    "query.sql": "SELECT name\nFROM people\n# the end\n",
}
SOURCE = pack(FILES)


@pytest.mark.parametrize(
    ("edit", "path", "text"),
    [
        (SearchReplace("FROM people", "FROM persons"), "query.sql", "SELECT name\nFROM persons\n# the end\n"),
        (SearchReplace("# the end", "-- end", "query.sql"), "query.sql", "SELECT name\nFROM people\n-- end\n"),
        (SearchReplace("LIMIT = 8", "LIMIT = 9", "run.py"), "src/run.py", FILES["src/run.py"].replace("8", "9")),
        (
            ReplaceDefinition("def", "f", "def f():\n    return 2"),
            "src/run.py",
            "LIMIT = 8\n\n\ndef f():\n    return 2\n",
        ),
        (WholeFile("LIMIT = 7"), "src/run.py", "LIMIT = 7\n"),
        (WholeFile("SELECT 1", "./query.sql"), "query.sql", "SELECT 1\n"),
        (Set("size", "20"), "conf.toml", "LIMIT = 3\nsize = 20 # MB\n# the end\n"),
        (Set("LIMIT", "5", "conf.toml"), "conf.toml", "LIMIT = 5\nsize = 10 # MB\n# the end\n"),
    ],
)
def test_an_edit_finds_its_file(edit: Edit, path: str, text: str) -> None:
    changed = edits.apply(SOURCE, [edit])
    assert unpack(changed) == {**FILES, path: text}
    settled = edits.settled(SOURCE, [edit])
    assert edits.apply(SOURCE, settled) == changed
    assert settled[0].path == (None if isinstance(edit, Set) else path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (SearchReplace("# the end", "x"), "it fits conf.toml and query.sql. Write a line `### path` before it"),
        (SearchReplace("FROM tables", "x"), "SEARCH block 1 in src/run.py: "),
        (
            SearchReplace("x", "y", "other.sql"),
            "no file other.sql to change. Files that may change: src/run.py, conf.toml",
        ),
        (ReplaceDefinition("def", "f", "def f(): ...", "query.sql"), "query.sql is not a Python file"),
        (WholeFile("size = \n", "conf.toml"), "With these edits conf.toml is not valid TOML"),
        (SearchReplace("    return 1", "    return ("), "With these edits src/run.py is not valid Python"),
        (Set("LIMITS", "3"), "no such constant or key. Did you mean"),
    ],
)
def test_what_does_not_apply_says_why(edit: Edit, message: str) -> None:
    with pytest.raises(EditError) as caught:
        edits.apply(SOURCE, [edit])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "edit",
    [Set("size", "10"), SearchReplace("FROM people", "FROM people  "), SearchReplace("size = 10 # MB", "size = 10")],
)
def test_what_changes_nothing_is_nothing_new(edit: Edit) -> None:
    with pytest.raises(NothingNewError):
        edits.apply(SOURCE, [edit])


def test_a_file_that_was_no_python_may_stay_so() -> None:
    source = pack({"page.py": "{% if x %}\n"})
    assert unpack(edits.apply(source, [WholeFile("{% if y %}")])) == {"page.py": "{% if y %}\n"}


def test_constants_are_settled_by_the_names_that_a_source_gives_them() -> None:
    change = [Set("LIMIT", "6 * 2"), Set("LIMIT", "4", "conf.toml"), Set("size", "10")]
    assert edits.settled(SOURCE, change) == (Set("src/run.py:LIMIT", "6 * 2"), Set("conf.toml:LIMIT", "4"))


def test_elements_of_a_list_are_set_one_by_one() -> None:
    source = pack({"a.toml": "w = [1.0, 2.5] # weights\n", "b.py": "P = (1, 2)\n"})
    change = [Set("w[1]", "3"), Set("w[0]", "w * 2"), Set("P[0]", "5")]
    with pytest.raises(EditError, match=r"has to be a literal such as 1\.0"):
        edits.settled(source, change)
    change[1] = Set("a.toml:w[0]", "0.5")
    settled = edits.settled(source, change)
    assert settled == (Set("w", "[0.5, 3.0]"), Set("P", "(5, 2)"))
    assert edits.apply(source, settled) == edits.apply(source, change)
    assert unpack(edits.apply(source, change))["a.toml"] == "w = [0.5, 3.0] # weights\n"
    for name in ("w[2]", "q[0]", "P[x]"):
        with pytest.raises(EditError, match=r"SET"):
            edits.apply(source, [Set(name, "1")])


def test_training_has_no_paths() -> None:
    assert edits.settled("A = 1\n", [SearchReplace("A = 1", "A = 2", "train_mlx.py")]) == (
        SearchReplace("A = 1", "A = 2"),
    )


def test_a_rendered_edit_names_its_file() -> None:
    change = [SearchReplace("a", "b", "q.sql"), Set("size", "3"), WholeFile("x\n```\n", "p.md")]
    assert edits.render(change) == (
        "SET size = 3\n\n### q.sql\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n\n"
        "### p.md\n````markdown\nx\n```\n\n````\n"
    )


@given(st.lists(st.sampled_from(["a", "b", "a/b", "x/a/b", "c.d"]), min_size=1, unique=True), st.sampled_from("ab"))
def test_a_path_means_one_file_or_is_refused(files: list[str], wanted: str) -> None:
    try:
        found = edits.file_of(files, wanted)
    except EditError:
        assert wanted not in files and sum(file.endswith(f"/{wanted}") for file in files) != 1
    else:
        assert found == wanted or found.endswith(f"/{wanted}")
