"""A recorded night of training, run again on what was measured then, gives the same journal, event by event."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.paths import JOURNAL
from testbed import replayed


@pytest.mark.slow
def test_a_recorded_night_gives_the_same_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    before, after = (replayed.told(path) for path in (replayed.NIGHT / JOURNAL, replayed.replay(tmp_path)))
    assert replayed.differences(before, after) == []
    verdicts = [event["verdict"] for event in after if event["type"] == "decided"]
    assert {"keep", "discard", "crash"} <= set(verdicts) and len(verdicts) == 7
    purposes = {event["purpose"] for event in after if event["type"] == "started"}
    assert purposes == {"search", "repeat", "incumbent", "final"}


def test_a_journal_that_says_something_else_is_told() -> None:
    said = [{"type": "decided", "n": 1, "verdict": "keep"}]
    assert replayed.differences(said, [{**said[0], "under": 0}]) == []
    assert replayed.differences(said, [{**said[0], "verdict": "crash"}]) == ["event 0: 'keep' is 'crash' now"]
    assert len(replayed.differences(said, [])) == 1 and len(replayed.differences(said, said * 2)) == 1
