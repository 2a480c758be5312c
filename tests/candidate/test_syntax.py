"""Parsing, its errors, and the definitions of a file."""

from __future__ import annotations

import warnings

import pytest

from autoresearch.candidate import syntax
from autoresearch.errors import SourceError


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(SourceError, match=r"\(line 2\)\n2: y = = 2"):
        syntax.parse("x = 1\ny = = 2\n")


@pytest.mark.parametrize("source", ["a = '\0'", "x = '\ud800'", "(" * 5000, "x = " + "-" * 100_000 + "1"])
def test_what_crashes_the_parser_is_a_source_error(source: str) -> None:
    with pytest.raises(SourceError, match="not valid Python"):
        syntax.parse(source)


def test_parsing_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        syntax.parse(r"x = '\d'")


def test_definitions_are_functions_classes_and_methods() -> None:
    tree = syntax.parse(
        "def f():\n    def inner(): ...\n\n\nclass A:\n    def g(self): ...\n\n    async def h(self): ...\n"
    )
    assert [name for name, _ in syntax.definitions(tree)] == ["f", "A", "A.g", "A.h"]


def test_a_tree_of_one_s_own_is_shared_with_nobody() -> None:
    assert syntax.parse("A = 1\n") is syntax.parse("A = 1\n")
    assert syntax.parse_anew("A = 1\n") is not syntax.parse("A = 1\n")
