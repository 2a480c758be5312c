"""An A/A night's candidates change nothing, and the contract accepts them as changes."""

from __future__ import annotations

import random

import pytest

from autoresearch.candidate import constants
from autoresearch.tasks.gpt import contract
from benchmarks.nights.nulls import exchangeable, exchanged
from testbed.toy import ROOT

TRAINER = (ROOT / "train_mlx.py").read_text()


@pytest.mark.slow
def test_functions_change_places_and_nothing_else_changes() -> None:
    pairs = list(exchangeable(TRAINER))
    assert len(pairs) > 60  # a night of that many candidates has no repeat
    for first, second in random.Random(0).sample(pairs, 8):
        source = exchanged(TRAINER, first, second, "# experiment 1")
        assert contract.check(source, TRAINER) == []
        assert constants.normalised(source) != constants.normalised(TRAINER)
        lines = [line for line in source.splitlines() if line.strip() != "# experiment 1"]
        assert sorted(lines) == sorted(TRAINER.splitlines())
