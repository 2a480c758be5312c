"""One edit in the text of one file, of any language."""

from __future__ import annotations

import pytest

from autoresearch.candidate import file_edits
from autoresearch.errors import EditError
from autoresearch.records import ReplaceDefinition, SearchReplace, WholeFile

CSS = ".a { color: red }\n.b { color: blue }\n"


def test_windows_line_ends_stay() -> None:
    edit = SearchReplace(".b { color: blue }", ".b { color: navy }\n.c { color: teal }")
    assert file_edits.applied(CSS.replace("\n", "\r\n"), edit, "SEARCH", CSS, "style.css") == (
        ".a { color: red }\r\n.b { color: navy }\r\n.c { color: teal }\r\n"
    )


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_has_no_line_to_name(text: str) -> None:
    edit = SearchReplace("", "CREATE INDEX i ON t (a);")
    assert file_edits.applied(text, edit, "SEARCH", text, "i.sql") == "CREATE INDEX i ON t (a);\n"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("style.css", "/* the rest of the file is unchanged */"),
        ("q.sql", "-- existing code"),
        ("a.html", "<!-- ... -->"),
        ("a.js", "// remaining functions unchanged"),
        ("prompt.md", "..."),
    ],
)
def test_a_line_that_stands_for_left_out_ones_is_refused(path: str, line: str) -> None:
    with pytest.raises(EditError, match="left out"):
        file_edits.applied("x\n", WholeFile(f"y\n{line}\n"), path, "x\n", path)


def test_dots_may_stand_in_lines_of_prose() -> None:
    edit = SearchReplace("Answer:", "Answer:\n...")
    assert file_edits.applied("Answer:\n", edit, "SEARCH", "Answer:\n", "prompt.md") == "Answer:\n...\n"


def test_a_definition_is_replaced_in_python_only() -> None:
    edit = ReplaceDefinition("def", "f", "def f(): return 2")
    assert file_edits.applied("def f(): return 1\n", edit, "REPLACE def f", "", "a.py") == "def f(): return 2\n"
    with pytest.raises(EditError, match=r"REPLACE def f: a\.js is not a Python file"):
        file_edits.applied("function f() {}\n", edit, "REPLACE def f", "", "a.js")


def test_an_edit_fits_where_it_has_its_one_place() -> None:
    assert file_edits.fits(CSS, SearchReplace(".a { color: red }", "x"), "a.css")
    assert not file_edits.fits(CSS, SearchReplace(".c { }", "x"), "a.css")
    assert not file_edits.fits(CSS, ReplaceDefinition("def", "f", ""), "a.css")
    assert file_edits.fits(CSS, WholeFile("x"), "a.css")
