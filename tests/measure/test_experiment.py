"""The two-process measurement, with real children on a toy task. Hostile candidates have their own file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from testbed.toy import HONEST, toy_bench

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(toy_data: Path) -> Workbench:
    return toy_bench(toy_data)


def variant(folder: Path, old: str, new: str) -> Path:
    source = HONEST.read_text()
    assert old in source
    path = folder / "train_mlx.py"
    path.write_text(source.replace(old, new))
    return path


def test_an_honest_candidate_is_measured(bench: Workbench, tmp_path: Path) -> None:
    heard: list[str] = []
    m = experiment.measure(bench, HONEST, tmp_path / "run", seed=1, listen=lambda e: heard.append(e["event"]))
    assert m.failure is None
    # From log2(64) bits a token untrained towards log2(3) = 1.585 for steps of 0, 1 or 2.
    assert m.score is not None and 1.5 < m.score < 6.5
    assert m.training_s is not None and m.training_s > 0
    assert m.num_steps and m.total_tokens and m.total_tokens // (16 * 64) - m.num_steps in (0, 1)
    assert [e for e in heard if e not in {"importing", "hashed", "step", "evaluated", "probed"}] == [
        "ready", "warmed_up", "clock_started", "trained", "saved", "ready", "scored", "result",
    ]  # fmt: skip
    assert math.isclose(sum(m.seconds.values()), m.total_s, abs_tol=0.02)
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"checkpoint.safetensors", "train.log", "evaluate.log"}
    again = experiment.evaluate(bench, HONEST, tmp_path / "run", 1, "val", rows=5, order=3)
    assert again.score == pytest.approx(m.score, rel=1e-6)
    test = experiment.evaluate(bench, HONEST, tmp_path / "run", 1, "test")
    assert test.score is not None and test.score != m.score


def test_a_run_is_scored_once_on_the_split_asked_for(bench: Workbench, tmp_path: Path) -> None:
    heard: list[str] = []
    m = experiment.measure(bench, HONEST, tmp_path / "run", 1, lambda e: heard.append(e["event"]), split="test")
    assert heard.count("result") == 1
    assert m.score == experiment.evaluate(bench, HONEST, tmp_path / "run", 1, "test").score
    assert m.score != experiment.evaluate(bench, HONEST, tmp_path / "run", 1, "val").score


def test_a_split_that_cannot_be_scored_is_the_failure_of_the_run(bench: Workbench, tmp_path: Path) -> None:
    bench.data.rows("test").write_bytes(b"not whole rows")
    m = experiment.measure(bench, HONEST, tmp_path / "run", 1, split="test")
    assert m.score is None and m.failure is not None and m.num_steps


def test_shorter_rows_are_pieces_of_rows(bench: Workbench, tmp_path: Path) -> None:
    source = variant(tmp_path, "run.batches(16)", "run.batches(24, 20)")
    m = experiment.measure(bench, source, tmp_path / "run", seed=1)
    assert m.ok and m.total_tokens is not None and m.total_tokens % (24 * 20) == 0


FAILURES = {
    "import": ("LR = 0.01", "LR = 0.01\nraise RuntimeError('no')"),
    "build": ("return Toy(", "return Nothing("),
    "warmup": ("opt = optim.Adam(LR)", "opt = optim.Adam(LR)\n    1 / 0"),
    "train": ("loss, grads = loss_and_grad(x, y)", "loss, grads = loss_and_grad(x, y)\n        1 / (3 - step)"),
    "diverged": ("LR = 0.01", "LR = 1e9"),
    "interface": ("return self.head(self.wte(idx))", "return self.head(self.wte(idx))[..., :-1]"),
    "exited": ("opt = optim.Adam(LR)", "import os; os._exit(0)"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failures_have_kinds_and_no_number(kind: str, bench: Workbench, tmp_path: Path) -> None:
    if kind in ("train", "diverged"):  # they end at a step that a loaded machine does not reach within a second
        bench = replace(bench, budget_s=60.0)
    m = experiment.measure(bench, variant(tmp_path, *FAILURES[kind]), tmp_path / "run", seed=1)
    assert m.failure is not None and m.failure.kind == kind, m.failure
    assert m.score is None and m.total_s < 60
    if kind in {"build", "warmup", "train"}:
        assert "train_mlx.py" in m.failure.detail and "prepare.py" not in m.failure.detail


def test_the_source_that_runs_is_the_source_that_was_hashed(bench: Workbench, tmp_path: Path) -> None:
    """A module planted in the run directory is not imported."""
    source = variant(tmp_path, "LR = 0.01", "import json\nLR = 0.01 if json.loads('1') else 0")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "json.py").write_text("raise SystemExit('planted')")
    (tmp_path / "json.py").write_text("raise SystemExit('planted')")
    assert experiment.measure(bench, source, run_dir, seed=1).ok


def test_rows_of_the_data_reach_the_candidate_whole(toy_data: Path) -> None:
    rows = np.fromfile(toy_data / "train.u16", dtype="<u2").reshape(2000, 65)
    assert rows[:, 0].tolist() == [60] * 2000
