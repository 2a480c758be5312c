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
