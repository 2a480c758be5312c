"""Hypotheses from outside wait in files; a damaged one is named and harms nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import EditError
from autoresearch.jsonable import from_json, to_json
from autoresearch.paths import Layout
from autoresearch.record import inbox
from autoresearch.record.inbox import Hypothesis
from autoresearch.records import Set
from testbed.journals import edits

ONE = Hypothesis(
    id="one", received=1.5, title="Deeper", hypothesis="More layers.", category="depth", edits=(Set("DEPTH", "9"),)
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "t")


def test_what_is_posted_waits_until_it_is_removed(layout: Layout) -> None:
    assert inbox.waiting(layout) == [] and inbox.read(layout, "one") is None
    inbox.post(layout, ONE)
    assert inbox.waiting(layout) == ["one"] and inbox.read(layout, "one") == ONE
    inbox.remove(layout, "one")
    inbox.remove(layout, "one")
    assert inbox.waiting(layout) == []


def test_the_oldest_comes_first_and_half_written_files_do_not_count(layout: Layout) -> None:
    for i, id in enumerate(("c", "a", "b")):
        inbox.post(layout, replace(ONE, id=id))
        os.utime(layout.inbox / f"{id}.json", (1000 + i, 1000 + i))
    (layout.inbox / ".d.json.tmp").write_text("{")
    (layout.inbox / ".e.json").write_text("{}")
    (layout.inbox / "notes.txt").write_text("mine")
    (layout.inbox / "folder.json").mkdir()
    os.mkfifo(layout.inbox / "pipe.json")
    for name in (b"\xff.json", "\u202e.json".encode(), b"\x1b[31m.json", b"<b>.json"):
        (layout.inbox / os.fsdecode(name)).write_text("{}")
    assert inbox.waiting(layout) == ["c", "a", "b"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id":"one"}', json.dumps({"id": "one", "title": 3}), "\x00"])
def test_a_damaged_file_is_named(layout: Layout, content: str) -> None:
    layout.inbox.mkdir(parents=True)
    (layout.inbox / "one.json").write_text(content)
    with pytest.raises(EditError, match="the hypothesis one cannot be read"):
        inbox.read(layout, "one")


def test_a_file_under_another_name_or_a_folder_is_no_hypothesis(layout: Layout) -> None:
    inbox.post(layout, ONE)
    (layout.inbox / "one.json").rename(layout.inbox / "two.json")
    (layout.inbox / "three.json").mkdir()
    with pytest.raises(EditError, match="says that it is one"):
        inbox.read(layout, "two")
    with pytest.raises(EditError, match="cannot be read"):
        inbox.read(layout, "three")
    inbox.remove(layout, "three")  # which cannot be, and does no harm


@given(st.builds(Hypothesis, id=st.text(), received=st.floats(0, 1e10), title=st.text(), hypothesis=st.text(),
                 category=st.text(), edits=st.lists(edits, max_size=2).map(tuple), author=st.text()))  # fmt: skip
def test_a_hypothesis_is_read_as_it_was_written(made: Hypothesis) -> None:
    assert from_json(Hypothesis, to_json(made)) == made


def test_the_proposer_names_the_author() -> None:
    assert ONE.proposal().proposer == "inbox" and ONE.proposal().inbox_id == "one"
    assert replace(ONE, author="claude").proposal().proposer == "inbox: claude"
