"""Edits are applied all or none, and read back from a journal."""

from __future__ import annotations

import pytest

from autoresearch.candidate import edits
from autoresearch.errors import EditError
from autoresearch.records import ReplaceDefinition, SearchReplace, Set
from testbed.reply_cases import RELU, SOURCE, SQUARED


def test_all_edits_apply_or_none() -> None:
    """The error names the edit that failed. The source is a string, so nothing can be left half done."""
    good, bad = Set("DEPTH", "6"), SearchReplace("not there at all", "x")
    with pytest.raises(EditError, match="SEARCH block 2"):
        edits.apply(SOURCE, [SearchReplace(RELU, SQUARED), good, bad])


def test_methods_keep_their_place_and_indentation() -> None:
    body = "def __call__(self, x):\n    return x * 2"
    result = edits.apply(SOURCE, [ReplaceDefinition("def", "Block.__call__", body)])
    assert "    def __call__(self, x):\n        return x * 2\n\n\ndef lr_scale" in result


def test_decorators_belong_to_a_definition() -> None:
    decorated = SOURCE.replace("def lr_scale", "@cache\n@twice\ndef lr_scale")
    result = edits.apply(decorated, [ReplaceDefinition("def", "lr_scale", "def lr_scale(progress):\n    return 1")])
    assert "@" not in result


@pytest.mark.parametrize("newline", ["\n", ""])
def test_a_file_without_a_last_newline(newline: str) -> None:
    source = SOURCE.rstrip("\n") + newline
    result = edits.apply(source, [SearchReplace("        run.log(0, loss)", "        run.log(1, loss)")])
    assert result == source.replace("log(0", "log(1")


# --- properties -------------------------------------------------------------------------------------------------------


def test_settled_edits_lack_constants_that_stay_and_hold_values_for_formulas() -> None:
    source = "A = 1\nB = 2\n"
    assert edits.settled(source, [Set("A", "1"), Set("B", "B * 2")]) == (Set("B", "4"),)
    assert edits.settled(source, [Set("A", "1")]) == (Set("A", "1"),)
    assert edits.settled(source, [Set("A", "3"), Set("B", "A * 2")]) == (Set("A", "3"), Set("B", "6"))


@pytest.mark.parametrize(
    ("search", "new", "result"),
    [
        ("A = 1", "A = 3", "A = 3  # a\nB = 2  # b\n"),
        ("B = 2\nA = 1", "B = 4\nA = 3", "A = 3  # a\nB = 4  # b\n"),
        ("A = 5", "A = 3", "The file has A = 1, not 5"),
        ("A = 1\nf()", "A = 3", "matches nothing"),
        ("C = 1", "C = 3", "like it"),
    ],
)
def test_a_block_of_constants_matches_by_their_values(search: str, new: str, result: str) -> None:
    source = "A = 1  # a\nB = 2  # b\n"
    try:
        assert edits.apply(source, [SearchReplace(search, new)]) == result
    except EditError as error:
        assert result in str(error)
