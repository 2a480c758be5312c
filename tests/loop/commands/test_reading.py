"""Commands that look at a night."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.loop.commands import reading
from testbed.night_builder import NightBuilder, set_to


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = NightBuilder()
    made.candidate(set_to("DEPTH", 3), 0.05, "keep")
    made.crash(set_to("WIDTH", 64))
    made.write(tmp_path / "runs" / "nov23")
    return tmp_path


def test_status_prints_the_summary(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.status(root, Namespace(tag="nov23", json=False)) == 0
    assert "nov23: 2 experiments (1 keep, 0 discard, 1 crash)" in capsys.readouterr().out


def test_show_prints_hypothesis_runs_and_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.show(root, Namespace(tag="nov23", n=1, json=False)) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("#1 DEPTH -> 3\n") and "\nkeep: it is keep\n" in shown
    assert "  run 1 (search, seed 1000): val_bpb 1." in shown and " tok/s, 700 steps\n" in shown
    assert "\n-DEPTH = 2" in shown and "\n+DEPTH = 3" in shown
    assert shown.endswith(f"logs: {root / 'runs' / 'nov23' / '0001'}\n")


def test_show_tells_a_failure_with_its_detail(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading.show(root, Namespace(tag="nov23", n=2, json=False))
    shown = capsys.readouterr().out
    assert (
        "run 1 (search, seed 2000): measured" in shown
        and ", memory: held 9.1 GB of memory" in shown
        and "\na traceback\n" in shown
    )


def test_show_of_the_baseline_has_no_diff_and_another_number_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.show(root, Namespace(tag="nov23", n=0, json=False))
    assert "@@" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="nov23 has no experiment 9; it has 0 to 2"):
        reading.show(root, Namespace(tag="nov23", n=9, json=False))


def test_scripts_get_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.status(root, Namespace(tag="nov23", json=True)) == 0
    night = json.loads(capsys.readouterr().out)
    assert night["headline"]["keeps"] == 1 and [x["n"] for x in night["experiments"]] == [0, 1, 2]
    assert reading.show(root, Namespace(tag="nov23", n=1, json=True)) == 0
    assert json.loads(capsys.readouterr().out) == night["experiments"][1]
