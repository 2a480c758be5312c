"""A night is read once for each state of its journal, while the loop may write it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autoresearch.errors import EditError, JournalError
from autoresearch.paths import Layout
from autoresearch.record import inbox
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment
from autoresearch.records import Proposal, Set
from autoresearch.serve.nights import NightReader, NoNightError
from testbed.night_builder import NightBuilder
from testbed.served import TAG, write_live, write_night

ONE = Hypothesis(id="h1", received=1.0, title="t", hypothesis="h", category="depth", edits=(Set("DEPTH", "3"),))


@pytest.fixture
def reader(tmp_path: Path) -> NightReader:
    write_night(tmp_path, 3)
    return NightReader(tmp_path)


def test_it_reads_again_only_what_has_changed(reader: NightReader) -> None:
    first = reader.snapshot()
    assert reader.snapshot() is first and len(first.night.experiments) == 4
    assert first.id == f"{TAG}:{len(first.lines)}"
    with Journal(reader.layout()) as journal:
        journal.append("note", text="it rains")
    second = reader.snapshot()
    assert second is not first and second.night.notes == ("it rains",) and len(second.lines) == len(first.lines) + 1


def test_a_line_that_is_being_written_does_not_count_yet(reader: NightReader) -> None:
    lines = len(reader.snapshot().lines)
    with reader.layout().journal.open("ab") as file:
        file.write(b'{"v":2,"t":"2026-11-2')
    assert len(reader.snapshot().lines) == lines


def test_many_threads_read_one_night_once(reader: NightReader) -> None:
    calls: list[int] = []
    seen = []

    def look() -> None:
        seen.append(reader.snapshot().once("slow", lambda: calls.append(1) or len(calls)))  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8


def test_without_a_tag_it_follows_the_night_that_was_written_last(tmp_path: Path) -> None:
    reader = NightReader(tmp_path)
    with pytest.raises(NoNightError, match=r"no night has begun here\. Run: uv run loop\.py"):
        reader.snapshot()
    for i, tag in enumerate(("b", "a")):
        NightBuilder(tag=tag).write(Layout(tmp_path, tag).folder)
        os.utime(Layout(tmp_path, tag).journal, (1000 + i, 1000 + i))
        assert reader.snapshot().night.tag == tag
    assert NightReader(tmp_path, "b").snapshot().night.tag == "b"
    with pytest.raises(NoNightError):
        NightReader(tmp_path, "c").snapshot()


def test_of_two_nights_that_run_it_stays_with_one(tmp_path: Path) -> None:
    """The nights of a fleet's classes write their journals in turn."""
    reader, layouts = NightReader(tmp_path), [Layout(tmp_path, tag) for tag in ("t-m1", "t-m4")]
    for layout in layouts:
        NightBuilder(tag=layout.tag).write(layout.folder)
        write_live(layout)
        assert reader.layout() == layouts[0]
    write_live(layouts[0], over="the time is up")
    os.utime(layouts[1].journal)
    assert reader.layout() == layouts[1]


def test_a_damaged_journal_is_named(reader: NightReader) -> None:
    path = reader.layout().journal
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(JournalError, match="line 1 is damaged"):
        reader.snapshot()


def test_sources_are_read_once_and_refused_where_they_were_changed(reader: NightReader) -> None:
    source = reader.snapshot().source_of(1)
    reader.layout().source(1).write_text("changed")
    assert reader.snapshot().source_of(1) == source
    with pytest.raises(JournalError, match="was changed after it was proposed"):
        NightReader(reader.root).snapshot().source_of(1)


def test_a_loop_runs_where_its_process_lives(reader: NightReader) -> None:
    assert reader.live() is None
    write_live(reader.layout())
    state = reader.live()
    assert state is not None and state.title == "Halve the batch" and reader.live() is state
    done = subprocess.run(
        [sys.executable, "-c", "from autoresearch.system.process import own_mark; print(own_mark())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    write_live(reader.layout(), mark=done.stdout.strip())
    assert reader.live() is None
    write_live(reader.layout(), over="the time is up")
    assert reader.live() is None
    reader.layout().live.write_text("{")
    assert reader.live() is None


def test_a_hypothesis_waits_then_is_an_experiment(reader: NightReader) -> None:
    assert reader.hypothesis("h1") is None
    inbox.post(reader.layout(), ONE)
    assert reader.hypothesis("h1") == ONE
    with Journal(reader.layout()) as journal:
        fields = {"role": "candidate", "source_sha256": "", "parent_commit": "", "parent_n": 0}
        journal.append("proposed", n=4, proposal=Proposal((), "t", "h", "depth", "inbox", inbox_id="h1"), **fields)
    found = reader.hypothesis("h1")
    assert isinstance(found, Experiment) and found.n == 4
    (reader.layout().inbox / "odd.json").write_text("{")
    with pytest.raises(EditError):
        reader.hypothesis("odd")
