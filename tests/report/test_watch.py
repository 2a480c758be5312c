"""The running loop from another terminal: watching it, pausing it, and a loop that is gone."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autoresearch.errors import UsageError
from autoresearch.loop.experimenter import Experimenter
from autoresearch.record import journal, pause
from autoresearch.report import watch
from autoresearch.report.console import LIVE, PlainView, View, published
from autoresearch.report.live_state import RunStart
from testbed.made_nights import Made

TAG = "nov23"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """runs/TAG of a night of six experiments."""
    return Made(tag=TAG).try_all(6).write(tmp_path / "runs" / TAG)


class Watcher:
    """`watch` in a thread, with the loop's side of it in the test."""

    def __init__(self, root: Path, terminal: bool = False) -> None:
        self.said = io.StringIO()
        self.console = Console(file=self.said, width=120, force_terminal=terminal)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._watch, args=(root,))
        self.thread.start()

    def _watch(self, root: Path) -> None:
        self.code = watch.watch(root, TAG, self.console, look_s=0.01)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.said.getvalue():
            assert time.monotonic() < deadline, f"no {text!r} in {self.said.getvalue()!r}"
            time.sleep(0.01)

    def end(self) -> str:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.said.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_ends_with_the_night(folder: Path, terminal: bool) -> None:
    with published(PlainView(io.StringIO()), folder) as view:
        view.state.tag = TAG
        view.begin(RunStart(7, 0, "Deeper"))
        watcher = Watcher(folder.parents[1], terminal)
        watcher.wait_for("Deeper")
        view.status("asking the tuner")
        watcher.wait_for("asking the tuner")
        view.state.end("the time is up")
    said = watcher.end()
    assert watcher.code == 0
    assert "nov23: 6 experiments" in said and "go on: uv run loop.py --tag nov23" in said
    assert ("\x1b[?1049h" in said) == terminal


def test_a_loop_that_is_gone_is_said_to_be(folder: Path) -> None:
    with published(PlainView(io.StringIO()), folder) as view:
        view.state.mark = "1:0.00"  # a process number with another start: used again since
        view.say("the last that was published before the kill")
        killed = (folder / LIVE).read_bytes()
    (folder / LIVE).write_bytes(killed)
    assert watch.running(folder) is None
    watcher = Watcher(folder.parents[1])
    assert "gone without a last word" in watcher.end()
    assert watcher.code == 1


def test_a_night_that_is_over_is_summed_up(folder: Path) -> None:
    watcher = Watcher(folder.parents[1])
    assert "nov23: 6 experiments" in watcher.end() and watcher.code == 0
    (folder / LIVE).write_bytes(b"torn")
    assert watch.read(folder) is None


# --- pausing ---


class Model:
    """A proposer of which only the memory matters here."""

    name, released = "model", 0

    def release(self) -> None:
        self.released += 1


def laboratory(folder: Path, view: View) -> Any:
    unused: Any = None
    return Experimenter(
        root=folder.parents[1], tag=TAG, folder=folder, repo=unused, journal=journal.Journal(folder), bench=unused,
        proposer=Model(), view=view, facts=unused,
    )  # fmt: skip


def test_a_pause_waits_gives_the_memory_back_and_is_not_research(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with published(PlainView(io.StringIO()), folder) as view:
        lab = laboratory(folder, view)
        lab.rest()
        assert lab.proposer.released == 0 and lab.night.pauses == 0
        watch.pause_command(folder.parents[1], TAG)
        watch.pause_command(folder.parents[1], TAG)
        waiting = threading.Thread(target=lab.rest)
        waiting.start()
        while not lab.night.pauses:
            time.sleep(0.01)
        assert view.state.paused_at is not None and lab.proposer.released == 1
        watch.resume_command(folder.parents[1], TAG)
        waiting.join(60)
        assert view.state.paused_at is None and not waiting.is_alive()
        lab.journal.close()
    night = journal.read(folder)
    assert night.pauses == 1 and night.paused_s > 0
    said = capsys.readouterr().out.splitlines()
    assert "pauses after the present run" in said[0] and "is paused since" in said[1] and "goes on" in said[2]


def test_a_pause_ends_with_the_night_and_its_time_is_counted_apart(folder: Path) -> None:
    lab = laboratory(folder, PlainView(io.StringIO()))
    pause.begin(folder)
    lab.rest(until=lambda: True)
    assert pause.asked(folder) is not None  # the person has not resumed: a start at login waits as well
    before = lab.night
    lab.journal.append("paused")
    lab.journal.append("note", text="x")
    assert lab.night.pauses == 2 and lab.night.elapsed_s >= before.elapsed_s
    lab.journal.close()
    assert pause.end(folder) and not pause.end(folder)


def test_without_a_loop_there_is_nothing_to_pause(folder: Path) -> None:
    with pytest.raises(UsageError, match="no loop is running on nov23"):
        watch.pause_command(folder.parents[1], TAG)
    with pytest.raises(UsageError, match="is not paused"):
        watch.resume_command(folder.parents[1], TAG)
    assert not (folder / pause.NAME).exists()
