"""What earlier nights taught about a machine, as a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.decide import earlier_nights, early_stop
from autoresearch.decide.noise import Noise
from autoresearch.records import TaskFacts

TASK = TaskFacts(dataset="toy", profile="tiny", fingerprint="toy0" * 4, budget_s=1.0)


EARLIER = [early_stop.Example(0.005 * (k % 5), 0.01) for k in range(20)] + [early_stop.Example(0.5, -0.1)]


def test_an_old_record_of_a_machine_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    earlier_nights.save(path, TASK, "new", Noise(0.02, 8.0), EARLIER)
    known = json.loads(path.read_text())
    for nights in known.values():
        nights["old"] = {"sigma_score": 0.02, "df": 8.0}
    path.write_text(json.dumps(known))
    assert earlier_nights.examples(path, TASK, "third") == EARLIER
    assert earlier_nights.examples(path, TASK, "new") == []


def test_a_night_does_not_learn_from_itself_and_log_sigma_is_averaged(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    for tag, sigma_score, df in (("first", 0.01, 2.0), ("second", 0.02, 6.0), ("third", 9.0, 9.0)):
        earlier_nights.save(path, TASK, tag, Noise(sigma_score, df), [])
    noise = earlier_nights.load(path, TASK, "third")
    assert noise is not None and noise.df == 8.0 and noise.sigma_score == pytest.approx(0.0168, abs=1e-4)
    assert earlier_nights.load(path, replace(TASK, budget_s=2.0), "third") is None


@pytest.mark.parametrize("content", ["", "[]", '{"toy": {"first": {"sigma_score": "wide"}}}'])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "noise.json"
    path.write_text(content)
    assert earlier_nights.load(path, TASK, "new") is None
    earlier_nights.save(path, TASK, "old", Noise(0.02, 8.0), [])
    assert earlier_nights.load(path, TASK, "new") == Noise(pytest.approx(0.02), 8.0)
