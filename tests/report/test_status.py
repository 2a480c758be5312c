"""The night in a few lines: counts, gain, what is running, and which night is meant."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from autoresearch.errors import UsageError
from autoresearch.paths import Layout
from autoresearch.record import pause
from autoresearch.report import status
from testbed.night_builder import EXACT, NightBuilder, set_to
from testbed.toy import ROOT, git


def shown(root: Path, tag: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=160)
    status.status(root, tag, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def a_night(tag: str = "nov23") -> NightBuilder:
    made = NightBuilder(tag=tag, sigma_bpb=EXACT)
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.candidate(set_to("WIDTH", 48), -0.1, "discard")
    made.crash(set_to("WIDTH", 96))
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start")
    return tmp_path


def test_counts_gain_and_the_next_commands() -> None:
    text = status.text(a_night().night)
    assert text.startswith("nov23: 3 experiments (1 keep, 1 discard, 1 crash) in ")
    assert "val_bpb 1.600000 -> 1.5" in text and "optimistic" in text
    assert "uv run loop.py --tag nov23" in text and "git log autoresearch/nov23" in text


def test_a_night_without_a_result_has_no_gain() -> None:
    made = NightBuilder()
    made.events = made.events[:1]
    assert "val_bpb" not in status.text(made.night)


def test_the_table_has_a_row_an_experiment(root: Path) -> None:
    a_night().write(root / "runs" / "nov23")
    lines = shown(root).splitlines()
    rows = [line.split() for line in lines if line.strip()[:1].isdigit() and "->" not in line.split()[0]]
    assert [row[:2] for row in rows] == [["0", "keep"], ["1", "keep"], ["2", "discard"], ["3", "crash"]]
    assert rows[3][2] == "—" and "memory: held 9.1 GB" in lines[-1]


def test_a_run_that_goes_on_and_a_pause_are_told(root: Path) -> None:
    made = a_night()
    n = made.propose("candidate", set_to("DEPTH", 6), made.sources[1], 1.4)
    made.add("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    folder = made.write(root / "runs" / "nov23")
    assert "running, or cut off: #4 run 0: DEPTH -> 6" in shown(root)
    assert "paused" not in shown(root)
    pause.begin(Layout.of(folder))
    assert "paused by hand" in shown(root)


def test_which_night_is_meant(root: Path) -> None:
    with pytest.raises(UsageError, match="no night has begun here"):
        status.find_tag(root, None)
    for age, tag in ((60, "nov23"), (30, "nov24")):
        folder = a_night(tag).write(root / "runs" / tag)
        for file in folder.iterdir():
            if file.is_file():
                os.utime(file, (file.stat().st_mtime - age,) * 2)
    assert status.find_tag(root, None) == "nov24"  # the night written last
    assert status.find_tag(root, "nov23") == "nov23"
    git(root, "checkout", "-q", "-b", "autoresearch/nov23")
    assert status.find_tag(root, None) == "nov23"  # the night of this branch
    with pytest.raises(UsageError, match="no night dec24"):
        status.find_tag(root, "dec24")


def test_status_and_watch_import_no_models_of_findings() -> None:
    """These commands are called often, and pydantic takes a tenth of a second to build such models."""
    names = "[name for name in sys.modules if name == 'pydantic' or name.startswith('autoresearch.findings')]"
    code = f"import sys, autoresearch.report.status, autoresearch.report.watch; print({names})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
