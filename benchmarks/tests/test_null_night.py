"""An A/A night's candidates change nothing and are accepted as changes; what the trust cost, read off a journal."""

from __future__ import annotations

import json
import random

import pytest

from autoresearch.candidate import constants
from autoresearch.record.codec import encode
from autoresearch.tasks.gpt import contract
from benchmarks.null_night import exchangeable, exchanged
from benchmarks.overhead import by_purpose, night_s, trust_table
from testbed.made_nights import Made
from testbed.toy import ROOT

TRAINER = (ROOT / "train_mlx.py").read_text()


def test_functions_change_places_and_nothing_else_changes() -> None:
    pairs = list(exchangeable(TRAINER))
    assert len(pairs) > 60  # enough for a night without a repeat
    for first, second in random.Random(0).sample(pairs, 8):
        source = exchanged(TRAINER, first, second, "# experiment 1")
        assert contract.check(source, TRAINER) == []
        assert constants.normalised(source) != constants.normalised(TRAINER)
        lines = [line for line in source.splitlines() if line.strip() != "# experiment 1"]
        assert sorted(lines) == sorted(TRAINER.splitlines())


def test_seconds_by_purpose() -> None:
    made = Made()
    made.propose("candidate", made.events[1]["proposal"], made.sources[0], 1.6)
    made.run(1, "search", "repeat")
    made.run(0, "incumbent")
    made.decide(1, "keep")
    made.run(1, "incumbent")  # the re-test before the validation
    made.run(0, "final")
    made.run(1, "final")
    events = [json.loads(encode(event)) for event in made.events]
    found = by_purpose(events)
    counts = {purpose: runs for purpose, (runs, _) in found.items() if runs}
    assert counts == {"baseline": 3, "search": 1, "repeat": 1, "incumbent": 1, "retest": 1, "final": 2}
    assert found["final"][1] == pytest.approx(660.0)
    assert night_s(events) > sum(seconds for _, seconds in found.values())
    assert "| confirmation: further runs of candidates before they are judged | 1 | 330 |" in trust_table(events)
