"""The conditions of a run: no pause, and an unloaded language model."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest

from autoresearch.errors import AutoresearchError, ProposerError
from autoresearch.loop import readiness
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.readiness import Readiness
from autoresearch.paths import Layout
from autoresearch.record import journal, pause
from autoresearch.report import watch
from autoresearch.report.console import PlainView, View, published
from testbed.night_builder import NightBuilder

TAG = "nov23"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Write a night of six experiments and return its layout."""
    layout = Layout(tmp_path, TAG)
    NightBuilder(tag=TAG).try_all(6).write(layout.folder)
    return layout


class Model:
    """Language model that stays in memory for the first `busy` calls of `release`."""

    def __init__(self, busy: int = 0) -> None:
        self.released, self.busy, self.stays = 0, busy, False

    def release(self, training_mb: float | None = None) -> bool:
        if self.busy:
            self.busy -= 1
            raise ProposerError("the model is still loaded")
        self.released += 1
        return self.stays and training_mb is not None


def waiting_for(layout: Layout, view: View, model: Model) -> tuple[Readiness, Notebook]:
    notebook = Notebook(layout, journal.Journal(layout), view)
    return Readiness(notebook, model.release), notebook


@pytest.mark.slow
def test_a_pause_waits_gives_the_memory_back_and_is_not_research(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model()
    with published(PlainView(io.StringIO()), layout) as view:
        ready, notebook = waiting_for(layout, view, model)
        ready.pause()
        assert model.released == 0 and notebook.night.pauses == 0
        watch.pause_command(layout.root, TAG)
        watch.pause_command(layout.root, TAG)
        waiting = threading.Thread(target=ready.pause)
        waiting.start()
        while not notebook.night.pauses:
            time.sleep(0.01)
        assert view.state.paused_at is not None and model.released == 1
        watch.resume_command(layout.root, TAG)
        waiting.join(60)
        assert view.state.paused_at is None and not waiting.is_alive()
        notebook.journal.close()
    night = journal.read(layout)
    assert night.pauses == 1 and night.paused_s > 0
    said = capsys.readouterr().out.splitlines()
    assert (
        "pauses after the present run" in said[0] and "has been paused since" in said[1] and said[2].endswith("resumes")
    )


def test_a_pause_ends_with_the_night_and_its_time_is_counted_apart(layout: Layout) -> None:
    ready, notebook = waiting_for(layout, PlainView(io.StringIO()), Model())
    pause.begin(layout)
    ready.pause(until=lambda: True)
    assert pause.asked(layout) is not None  # a start at login waits as well until the person resumes
    before = notebook.night
    notebook.journal.append("paused")
    notebook.journal.append("note", text="x")
    assert notebook.night.pauses == 2 and notebook.night.elapsed_s >= before.elapsed_s
    notebook.journal.close()
    assert pause.end(layout) and not pause.end(layout)


def test_a_model_that_stays_loaded_is_waited_for_and_then_ends_the_night(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "RELEASE_WAITS_S", (0.0, 0.0))
    model = Model(busy=1)
    ready, _ = waiting_for(layout, PlainView(io.StringIO()), model)
    ready.wait(peak_mb=0.0)
    assert model.released == 1
    model.busy = 2
    with pytest.raises(AutoresearchError, match="cannot train while a model is loaded: the model is still loaded"):
        ready.wait(peak_mb=0.0)


def test_a_model_may_stay_beside_a_training_that_fits_but_not_in_a_pause(layout: Layout) -> None:
    model = Model()
    model.stays = True
    ready, _ = waiting_for(layout, PlainView(io.StringIO()), model)
    ready.wait(peak_mb=100.0)
    assert ready.shared
    ready.alone = True
    ready.wait(peak_mb=100.0)
    assert not ready.shared


def test_too_little_memory_is_waited_for_and_then_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ROOM_WAITS_S", (0.0,))
    stream = io.StringIO()
    ready, _ = waiting_for(layout, PlainView(stream), Model())
    ready.wait(peak_mb=1e9)
    assert "a run takes 976562.5; continuing anyway" in stream.getvalue()
