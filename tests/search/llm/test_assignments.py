"""Assignments without SET, and unified diffs: edits where they are meant as such."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate import constants, edits
from autoresearch.errors import EditError
from autoresearch.records import SearchReplace
from autoresearch.search.llm import assignments, replies
from testbed.reply_cases import SOURCE

# fmt: off
STATED = ["The current values:\n{}", "The script has\n{}", "Before:\n```\n{}\n```", "{}\n\nwere the values so far.",
          "We keep\n\n{}\n", "I would not set\n{}", "It used to be\n{}\nwhich was fine.", "Here is what I see.\n{}"]
# fmt: on
MEANT = ["{}", "TITLE: a\nHYPOTHESIS: b\n{}", "New values:\n```python\n{}\n```", "My change:\n\n{}\n", "Try\n- {}"]


@pytest.mark.parametrize("text", STATED)
def test_values_that_the_script_is_said_to_have_are_no_edits(text: str) -> None:
    assert list(assignments.bare(text.format("DEPTH = 6").split("\n"))) == []


@pytest.mark.parametrize("text", MEANT)
def test_values_that_stand_alone_or_are_announced_are_edits(text: str) -> None:
    assert list(assignments.bare(text.format("DEPTH = 6").split("\n"))) == [("DEPTH", " 6")]


@pytest.mark.parametrize(
    ("remark", "stated"),
    [(" (unchanged)", True), ("  # current value", True), (" (currently 8)", False), (" # was 8", False), ("", False)],
)
def test_remarks(remark: str, stated: bool) -> None:
    assert assignments.is_stated(remark) is stated


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["{}{}", "{} {}", "{}SET {}"]), st.booleans())
def test_a_diff_sets_its_new_value_only_where_the_file_has_the_old_one(
    old: int, new: int, form: str, fenced: bool
) -> None:
    text = f"{form.format('-', f'DEPTH = {old}')}\n{form.format('+', f'DEPTH = {new}')}"
    text = f"```diff\n{text}\n```" if fenced and "SET" not in form else text
    if old == 8 and new != 8 and not (fenced and form == "{} {}"):
        assert constants.read(edits.apply(SOURCE, replies.parse(text).edits))["DEPTH"] == new
    elif old != 8:
        with pytest.raises(EditError):
            edits.apply(SOURCE, replies.parse(text).edits)


def test_each_hunk_of_a_diff_is_an_edit_and_the_rest_of_the_reply_stays() -> None:
    diff = (
        "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n@@ -9 +9 @@\n-c\n\\ No newline at end of file\n+d"
    )
    rest, blocks = assignments.without_diffs(f"TITLE: x\n\n{diff}\n\nBecause.".split("\n"))
    assert blocks == [SearchReplace("a = 1\nb = 2", "a = 1\nb = 3"), SearchReplace("c", "d")]
    assert rest == ["TITLE: x", "", "Because."]


def test_bullets_and_rules_are_no_diffs() -> None:
    lines = ["- SET DEPTH = 6", "---", "- SET MATRIX_LR = 0.05", "@@", ""]
    assert assignments.without_diffs(lines) == (lines, [])
