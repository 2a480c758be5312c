"""Blocks as they are written, and lines that read as a marker."""

from __future__ import annotations

import pytest

from autoresearch.candidate import edit_markers
from autoresearch.candidate.edit_markers import BEGIN, BEGIN_LINE, DIVIDER, DIVIDER_LINE, END, END_LINE
from autoresearch.records import SearchReplace


def test_a_block_and_a_deletion() -> None:
    assert edit_markers.block(SearchReplace("a", "b\nc")) == f"{BEGIN}\na\n{DIVIDER}\nb\nc\n{END}"
    assert edit_markers.block(SearchReplace("a", "")) == f"{BEGIN}\na\n{DIVIDER}\n{END}"


def test_the_markers_that_are_written_are_read() -> None:
    assert BEGIN_LINE.fullmatch(BEGIN) and DIVIDER_LINE.fullmatch(DIVIDER) and END_LINE.fullmatch(END)


@pytest.mark.parametrize("line", ["<<<<< SEARCH train_mlx.py", "  <<<<<<<<< SEARCH  ", "<<<<<<< ORIGINAL:12"])
def test_other_spellings_of_the_begin_marker(line: str) -> None:
    assert BEGIN_LINE.fullmatch(line)


@pytest.mark.parametrize("line", ["x << 3", "<<<<", "# ======= a heading =======", "a = b >>>>> c"])
def test_lines_of_code_are_no_markers(line: str) -> None:
    assert not any(marker.fullmatch(line) for marker in (BEGIN_LINE, DIVIDER_LINE, END_LINE))


def test_a_line_that_would_be_read_as_a_marker_is_found() -> None:
    assert edit_markers.ambiguous_line(SearchReplace("a\n=======", "b")) == "======="
    assert edit_markers.ambiguous_line(SearchReplace("a", "b\n>>>>>>> REPLACE")) == ">>>>>>> REPLACE"
    assert edit_markers.ambiguous_line(SearchReplace("a", "=======")) is None  # only the first divider counts
