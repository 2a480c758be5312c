"""A pause is a file that any terminal may put into runs/TAG."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoresearch.paths import Layout
from autoresearch.record import pause


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "t")


def test_a_pause_begins_and_ends_once(layout: Layout) -> None:
    assert pause.asked(layout) is None and not pause.end(layout)
    pause.begin(layout)
    assert pause.asked(layout) == pytest.approx(time.time(), abs=60)
    assert pause.end(layout) and pause.asked(layout) is None and not pause.end(layout)


def test_asking_again_is_one_pause(layout: Layout) -> None:
    pause.begin(layout)
    pause.begin(layout)
    assert pause.end(layout) and list(layout.folder.iterdir()) == []


def test_a_night_that_is_gone_is_not_paused(tmp_path: Path) -> None:
    assert pause.asked(Layout(tmp_path, "nowhere")) is None
