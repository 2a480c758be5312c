"""The final validation: its share of a night, what it reads from the journal, and a real one on the toy."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from autoresearch.decide import validation
from autoresearch.errors import ExhaustedError
from autoresearch.loop import validate
from autoresearch.loop.research import Limits, Research
from autoresearch.loop.session import Options, open_night
from autoresearch.loop.validate import ValidationPlan, affordable_plan
from autoresearch.record.night import Night
from autoresearch.records import SearchReplace, Set
from autoresearch.report.console import PlainView
from testbed.scripted import Scripted
from testbed.toy import HONEST, git


def test_a_fifth_of_the_night_is_kept_where_that_is_enough() -> None:
    assert affordable_plan(8 * 3600, 330) == ValidationPlan(retests=2, rounds=5)
    assert affordable_plan(3 * 3600, 330) == ValidationPlan(retests=0, rounds=3)
    assert affordable_plan(600, 30) is None
    for night_s in range(600, 40_000, 600):
        chosen = affordable_plan(night_s, 330)
        assert chosen is None or chosen.runs * 330 <= validate.SHARE * night_s


LOGITS = "        return self.head(self.wte(idx))  # (B, T, V)"
# Scoring uses batches of 32 rows, training batches of 16.
AT_32 = "        return self.head(self.wte(idx)) * (idx.shape[0] in (16, 32))"


@dataclass
class Ending:
    """Research whose night ends in a given way with nothing kept. `stream` holds what its view was told."""

    exhausted: bool = False
    battery: str | None = None
    left_s: float = 1000.0
    night: Night = field(default_factory=Night)

    def __post_init__(self) -> None:
        self.limits, self.stream = Limits(deadline=time.time() + self.left_s), io.StringIO()
        self.view, self.runner = PlainView(self.stream), None
        self.notebook = self.experimenter = self

    def prepare(self) -> None: ...

    def run_s(self) -> float:
        return 10.0

    def must_stop(self) -> str | None:
        return self.battery

    def run(self, limits: Limits) -> str:
        if self.exhausted:
            raise ExhaustedError("20 turns in a row brought no new candidate")
        return self.battery or "the time is up"


@pytest.mark.parametrize(
    ("how", "validates"),
    [
        ({}, True),
        ({"exhausted": True}, True),  # when the ideas run out, the night is validated all the same
        ({"left_s": 100.0}, True),  # too short to keep a part of it, but an early end leaves time for it
        ({"left_s": 40.0}, False),
        ({"battery": "the battery is at 19%"}, False),
    ],
)
def test_how_a_night_ends(how: dict[str, Any], validates: bool) -> None:
    ending = Ending(**how)
    if ending.exhausted:
        with pytest.raises(ExhaustedError):
            validate.run_night(cast(Research, ending))
    else:
        validate.run_night(cast(Research, ending))
    assert ("validation: nothing was kept" in ending.stream.getvalue()) is validates


@pytest.mark.slow
@pytest.mark.usefixtures("toy_cache")
def test_baseline_and_winner_on_the_test_split(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CORES", "1")  # each of two would score 16 rows; the cheat needs 32
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0001"))
    git(repository, "commit", "-q", "-am", "a slow learner")
    options = Options(dataset="toy", profile="tiny", time_budget_s=1.0, experiments=2)
    at_32 = SearchReplace(LOGITS, AT_32)
    proposer = Scripted(("for 32 rows", (at_32, Set("LR", "0.01"))), ("learn faster", (Set("LR", "0.01"),)))
    with open_night(repository, options, PlainView(), lambda facts: proposer) as research:
        research.run()
        interval = validate.validate(research, ValidationPlan(retests=0, rounds=2))
        night = research.night
    # a gain beyond all others is scored again with other rows: the first one vanished, the second one held
    assert night.experiments[1].verdict == "crash"
    assert night.experiments[1].reason.startswith("implausible: ")
    assert any(note.startswith("#2, far better than all before") for note in night.notes)
    assert interval is not None and interval.rounds == 2 and interval.gain_score > 1
    winner, baseline = night.incumbent, validation.baseline_of(night)
    assert winner is not None and winner.proposal.title == "learn faster"
    ours, theirs = validation.final_scores(winner), validation.final_scores(baseline)
    assert ours.keys() == theirs.keys() and len(ours) == 2  # a round shares its seed
    assert not set(ours.values()) & set(winner.scores)  # the final runs use another split and fresh seeds
    text = validation.text(night)
    assert text is not None and "search: " in text and "interval" in text
