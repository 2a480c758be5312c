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
from autoresearch.records import Proposal, Set
from autoresearch.report import status
from autoresearch.report.live_state import LiveState, RunStart
from autoresearch.system.process import own_mark
from testbed.night_builder import EXACT, NightBuilder, set_to
from testbed.toy import ROOT, git


def shown(root: Path, tag: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=160)
    status.status(root, tag, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def a_night(tag: str = "nov23") -> NightBuilder:
    made = NightBuilder(tag=tag, sigma_score=EXACT)
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


def test_a_night_that_kept_nothing_claims_no_gain() -> None:
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), -0.1, "discard")
    text = status.text(made.night)
    assert "the baseline's: nothing better was kept" in text and "optimistic" not in text and "git log" not in text


def test_an_exact_metric_has_no_sigma() -> None:
    made = NightBuilder(tag="nov23", sigma_score=0.0)
    text = status.text(made.night)
    assert "val_bpb 1.600000, the baseline's: nothing better was kept; runs of one version agree" in text
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    text = status.text(made.night)
    assert "val_bpb 1.600000 -> 1.500000 (+0.1000 bpb; runs of one version agree)" in text


@pytest.mark.parametrize(
    ("gain_score", "rounds", "step"),
    [(0.1, 0, "loop.py validate --tag nov23"), (0.1, 3, "loop.py adopt --tag nov23"), (0.0, 3, "proves no gain yet")],
)
def test_the_next_step_of_a_night_with_a_keep(gain_score: float, rounds: int, step: str) -> None:
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), gain_score, "keep")
    made.validate(rounds)
    assert status.text(made.night).splitlines()[-1].endswith(step)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_nothing(root: Path, width: int) -> None:
    made = a_night()
    long = "Replace the squared activation by one that is cheaper to compute and as good"
    made.candidate(Proposal((Set("WIDTH", "40"),), long, "", "mlp", "ollama:qwen3-coder:30b"), -0.1, "discard")
    made.write(root / "runs" / "nov23")
    console = Console(file=io.StringIO(), width=width)
    status.status(root, "nov23", console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    words = " ".join(text.split())
    assert long in words and "ollama:qwen3-coder:30b" in words and "#3 crash — (1 run)" in words
    assert max(map(len, text.splitlines())) <= width and "…" not in text


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
    text = shown(root)
    assert "cut off in #4 run 1: DEPTH -> 6; " in text and "running" not in text and "resume: uv run loop.py" in text
    live = LiveState(mark=own_mark())
    live.begin(RunStart(4, 0, "DEPTH -> 6"))
    (folder / "live.json").write_bytes(live.to_json())
    text = shown(root)
    assert "running: #4 run 1, starting: DEPTH -> 6" in text and "cut off" not in text
    assert "watch it: uv run loop.py watch" in text and "resume: " not in text
    assert "paused" not in text
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


@pytest.mark.slow
def test_status_and_watch_import_no_models_of_findings() -> None:
    """These commands are called often, and pydantic takes a tenth of a second to build such models."""
    names = "[name for name in sys.modules if name == 'pydantic' or name.startswith('autoresearch.findings')]"
    code = f"import sys, autoresearch.report.status, autoresearch.report.watch; print({names})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
