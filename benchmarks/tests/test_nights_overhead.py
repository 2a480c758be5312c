"""The seconds of a journal are counted by the purpose of their runs."""

from __future__ import annotations

import json

import pytest

from autoresearch.record.codec import encode
from benchmarks.nights.overhead import by_purpose, night_s, outside_training, trust_table
from testbed.night_builder import NightBuilder


def test_seconds_by_purpose() -> None:
    made = NightBuilder()
    made.propose("candidate", made.events[1]["proposal"], made.sources[0], 1.6)
    made.run(1, "search", "repeat")
    made.run(0, "incumbent")
    made.decide(1, "keep")
    made.run(1, "incumbent")  # a re-test of a finalist before the validation
    made.run(0, "final")
    made.run(1, "final")
    events = [json.loads(encode(event)) for event in made.events]
    found = by_purpose(events)
    counts = {purpose: runs for purpose, (runs, _) in found.items() if runs}
    assert counts == {"baseline": 3, "search": 1, "repeat": 1, "incumbent": 1, "retest": 1, "final": 2}
    assert found["final"][1] == pytest.approx(660.0)
    assert outside_training(events) == pytest.approx(330.0 - 300.0)
    assert night_s(events) > sum(seconds for _, seconds in found.values())
    assert "| repeats: further runs of candidates before they are judged | 1 | 330 |" in trust_table(events)
