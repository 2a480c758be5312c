"""Files of which only the text is known."""

from __future__ import annotations

import pytest

from autoresearch.candidate import plain_text
from autoresearch.errors import EditError

SQL = "SELECT name\nFROM people\n"


@pytest.mark.parametrize(
    ("other", "same"), [("SELECT name  \nFROM people\n\n", True), ("SELECT  name\nFROM people\n", False)]
)
def test_only_blanks_at_the_ends_of_lines_do_not_count(other: str, same: bool) -> None:
    assert (plain_text.normalised(other) == plain_text.normalised(SQL)) is same


def test_there_are_no_constants() -> None:
    assert plain_text.read("LIMIT = 5\n") == plain_text.literals("LIMIT = 5\n") == {}
    with pytest.raises(EditError, match="no constants"):
        plain_text.assign(SQL, "LIMIT", "5")
