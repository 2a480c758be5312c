"""Lines of a reply that name a file."""

from __future__ import annotations

import pytest

from autoresearch.search.llm import sections

FILES = ("query.sql", "site/style.css", "Makefile")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("### query.sql", "query.sql"),
        ("## `query.sql`", "query.sql"),
        ("#### **site/style.css**:", "site/style.css"),
        ("### style.css", "site/style.css"),
        ("### File: ./query.sql", "query.sql"),
        ("### In query.sql:", "query.sql"),
        ("**query.sql**", "query.sql"),
        ("query.sql:", "query.sql"),
        ("### Makefile", "Makefile"),
        ("### other/query.sql", "other/query.sql"),
        ("### schema.sql", "schema.sql"),
        ("### Why", None),
        ("### Change 2: query.sql and style.css", None),
        ("# query.sql", None),
        ("schema.sql", None),
        ("I change query.sql", None),
        ("", None),
        ("###", None),
    ],
)
def test_a_line_names_a_file_or_none(line: str, path: str | None) -> None:
    assert sections.heading(line, FILES) == path


def test_a_block_may_name_its_file_in_its_first_line() -> None:
    assert sections.in_marker("<<<<<<< SEARCH style.css", FILES) == "site/style.css"
    assert sections.in_marker("<<<<<<< SEARCH", FILES) is None
