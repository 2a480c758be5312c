"""Whole evaluations: a judge and two processes of the model, on the toy task."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.measure import experiment
from testbed.toy import HONEST, toy_bench

pytestmark = pytest.mark.slow
FORWARD = "return self.head(self.wte(idx))"


def test_val_bpb_is_the_formula_and_a_probe_moves_nothing(toy_data: Path, tmp_path: Path) -> None:
    """A model with equal logits costs log2(64) bits a token, and BOS counts in neither sum."""
    source, run = tmp_path / "train_mlx.py", tmp_path / "run"
    source.write_text(HONEST.read_text().replace(FORWARD, FORWARD.replace("return", "return 0 *")))
    heard: list[dict[str, object]] = []
    bench = toy_bench(toy_data, budget_s=0.3)
    m = experiment.measure(bench, source, run, 1, lambda event: heard.append(dict(event)), ceiling_score=1.0)
    assert m.score == pytest.approx(math.log2(64), rel=1e-6) and m.probe_nats == 0.0
    assert heard[-1]["event"] == "result" and heard[-1]["probes"] == 1  # it is above the ceiling
    assert {path.name for path in run.iterdir()} == {
        *("checkpoint.safetensors", "fixed.safetensors", "train.log", "judge.log", "evaluate.log", "probe.log")
    }
    source.write_text(source.read_text() + "\nraise MemoryError('[metal::malloc] too much')\n")
    failed = experiment.evaluate(bench, source, run, 1, "val").failure  # tried row by row as well
    assert failed is not None and failed.kind == "memory" and "metal" in failed.message
    assert "train_mlx.py" in failed.detail
    slow = replace(bench, startup_limit_s=-60.0, save_limit_s=0.0)  # before it begins, however fast it is
    late = experiment.evaluate(slow, source, run, 1, "val").failure
    assert late is not None and late.kind == "startup"
