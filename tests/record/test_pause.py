"""A pause is a file that any terminal may put into runs/TAG."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoresearch.record import pause


def test_a_pause_begins_and_ends_once(tmp_path: Path) -> None:
    assert pause.asked(tmp_path) is None and not pause.end(tmp_path)
    pause.begin(tmp_path)
    assert pause.asked(tmp_path) == pytest.approx(time.time(), abs=60)
    assert pause.end(tmp_path) and pause.asked(tmp_path) is None and not pause.end(tmp_path)


def test_asking_again_is_one_pause(tmp_path: Path) -> None:
    pause.begin(tmp_path)
    pause.begin(tmp_path)
    assert pause.end(tmp_path) and list(tmp_path.iterdir()) == []


def test_a_night_that_is_gone_is_not_paused(tmp_path: Path) -> None:
    assert pause.asked(tmp_path / "nowhere") is None
