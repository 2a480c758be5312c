"""The number that a whole evaluation gives."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoresearch.measure import experiment
from testbed.toy import HONEST, toy_bench

pytestmark = pytest.mark.slow


def test_val_bpb_is_the_formula(toy_data: Path, tmp_path: Path) -> None:
    """A model with equal logits costs log2(64) bits a token, and BOS counts in neither sum."""
    forward = "return self.head(self.wte(idx))"
    source = tmp_path / "train_mlx.py"
    source.write_text(HONEST.read_text().replace(forward, forward.replace("return", "return 0 *")))
    m = experiment.measure(toy_bench(toy_data), source, tmp_path / "run", seed=1)
    assert m.val_bpb == pytest.approx(math.log2(64), rel=1e-6)
