"""The running loop from another terminal: watching it, and a loop that is gone."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from autoresearch.errors import UsageError
from autoresearch.paths import Layout
from autoresearch.report import live_state, watch
from autoresearch.report.console import PlainView, published
from autoresearch.report.live_state import RunStart
from testbed.night_builder import NightBuilder

TAG = "nov23"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Write a night of six experiments and return its layout."""
    made = Layout(tmp_path, TAG)
    NightBuilder(tag=TAG).try_all(6).write(made.folder)
    return made


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
def test_watching_ends_with_the_night(layout: Layout, terminal: bool) -> None:
    with published(PlainView(io.StringIO()), layout) as view:
        view.state.tag = TAG
        view.begin(RunStart(7, 0, "Deeper"))
        watcher = Watcher(layout.root, terminal)
        watcher.wait_for("Deeper")
        view.status("asking the tuner")
        watcher.wait_for("asking the tuner")
        view.state.end("the time is up")
    said = watcher.end()
    assert watcher.code == 0
    assert "nov23: 6 experiments" in said and "resume: uv run loop.py --tag nov23" in said
    assert ("\x1b[?1049h" in said) == terminal


def test_a_loop_that_is_gone_is_said_to_be(layout: Layout) -> None:
    with published(PlainView(io.StringIO()), layout) as view:
        view.state.mark = "1:0.00"  # another start: the system has used the process number again
        view.say("the last that was published before the kill")
        killed = layout.live.read_bytes()
    layout.live.write_bytes(killed)
    assert live_state.running(layout) is None
    watcher = Watcher(layout.root)
    assert "ended without saying why" in watcher.end()
    assert watcher.code == 1


def test_a_night_that_is_over_is_summed_up(layout: Layout) -> None:
    watcher = Watcher(layout.root)
    assert "nov23: 6 experiments" in watcher.end() and watcher.code == 0
    layout.live.write_bytes(b"torn")
    assert live_state.published(layout) is None


def test_without_a_loop_there_is_nothing_to_pause(layout: Layout) -> None:
    with pytest.raises(UsageError, match="no loop is running on nov23"):
        watch.pause_command(layout.root, TAG)
    with pytest.raises(UsageError, match="is not paused"):
        watch.resume_command(layout.root, TAG)
    assert not layout.pause.exists()
