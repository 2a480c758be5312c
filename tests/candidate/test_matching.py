"""Where a SEARCH text and the name of a definition match, and what is said where they do not."""

from __future__ import annotations

import pytest

from autoresearch.candidate.matching import replace, replace_definition
from autoresearch.errors import EditError, SourceError

SOURCE = """def f(x):
    y = x + 1

    return y


class A:
    def f(self):
        return 1

    def g(self):
        return 1
"""


@pytest.mark.parametrize(
    ("search", "replacement", "changed"),
    [
        ("    y = x + 1", "    y = x + 2", "    y = x + 2"),
        ("    y = x + 1   ", "    y = x + 2", "    y = x + 2"),
        ("y = x + 1", "y = x + 2\nz = 3", "    y = x + 2\n    z = 3"),
        ("        y = x + 1", "        y = x + 2", "    y = x + 2"),
    ],
    ids=["exact", "trailing space", "indented less", "indented more"],
)
def test_the_steps_of_matching(search: str, replacement: str, changed: str) -> None:
    assert replace(SOURCE, search, replacement) == SOURCE.replace("    y = x + 1", changed)


def test_blank_lines_are_ignored_last() -> None:
    result = replace(SOURCE, "y = x + 1\nreturn y", "return x + 1")
    assert result.startswith("def f(x):\n    return x + 1\n\n\nclass A:")


def test_an_empty_replacement_deletes_the_lines() -> None:
    assert replace("a = 1\nb = 2\n", "a = 1", "") == "b = 2\n"


def test_several_matches_name_their_lines() -> None:
    with pytest.raises(EditError, match=r"^SEARCH block 1: it matches 2 places, at lines 9, 12\."):
        replace(SOURCE, "return 1", "return 2", "SEARCH block 1")


def test_no_match_shows_the_closest_lines() -> None:
    with pytest.raises(EditError, match=r"The closest is line 2; copy exactly:\n    y = x \+ 1"):
        replace(SOURCE, "y = x + 10", "y = 2")
    with pytest.raises(EditError, match="nothing in the file is like it"):
        replace(SOURCE, "import torch.distributed", "")


def test_a_replacement_that_cannot_be_indented_less() -> None:
    with pytest.raises(EditError, match="the indentation of REPLACE does not fit"):
        replace(SOURCE, "        y = x + 1", "  y = 2")


def test_a_method_is_found_by_its_qualified_or_its_only_name() -> None:
    body = "def g(self):\n    return 2"
    expected = SOURCE[::-1].replace("1 nruter", "2 nruter", 1)[::-1]
    assert replace_definition(SOURCE, "def", "A.g", body) == replace_definition(SOURCE, "def", "g", body) == expected


@pytest.mark.parametrize(
    ("kind", "name", "body", "message"),
    [
        ("def", "h", "def h(): ...", "there is no such def. Did you mean f"),
        ("class", "f", "class f: ...", "there is no such class. Did you mean A"),
        ("def", "f", "def g(): ...", "the body must be `def f` and nothing else; it holds def g"),
        ("def", "f", "x = 1\ndef f(): ...", "it holds other code, def f"),
        ("def", "f", "", "it holds nothing"),
        ("def", "f", "def f(:", "the body is not valid Python"),
    ],
)
def test_definitions_that_are_refused(kind: str, name: str, body: str, message: str) -> None:
    with pytest.raises(EditError) as caught:
        replace_definition(SOURCE, kind, name, body)
    assert message in str(caught.value)


def test_a_method_name_of_two_classes_is_ambiguous() -> None:
    with pytest.raises(EditError, match=r"there are several\. Say which: A\.g, B\.g"):
        replace_definition(SOURCE + "\n\nclass B:\n    def g(self): ...\n", "def", "g", "def g(self): ...")


def test_a_file_that_is_not_python() -> None:
    with pytest.raises(SourceError):
        replace_definition("def f(:", "def", "f", "def f(): ...")
