"""The state of the live view: it follows a run, and another program reads all of it back."""

from __future__ import annotations

import pytest

from autoresearch.errors import JournalError
from autoresearch.report.live_state import SHOWN_POINTS, LiveState, RunStart
from testbed.live_states import STEP, drawn, live_state


def test_the_state_follows_a_run() -> None:
    made = live_state()
    assert (made.phase, made.loss, made.tok_s, made.step) == ("training", 3.21, 10_000, 12)
    made.hear({"event": "trained"})
    assert made.phase == "saving"
    made.hear({"event": "evaluated", "rows": 8, "of": 32})
    assert (made.phase, made.progress) == ("evaluating", 0.25)
    made.begin(RunStart(62, 0, "next"))
    assert made.curve == [] and made.loss is None
    for i in range(5000):
        made.hear({**STEP, "progress": i / 5000, "loss": float(i)})
    assert len(made.curve) <= SHOWN_POINTS and made.curve[-1][1] == 4999.0


def test_the_state_passes_whole_to_another_program() -> None:
    made = live_state()
    made.say("a line")
    read = LiveState.from_json(made.to_json())
    assert drawn(read) == drawn(made)
    assert read.results == made.results and read.proposers == made.proposers
    newer = made.to_json().replace(b'{"tag"', b'{"a_later_field":1,"tag"')
    assert drawn(LiveState.from_json(newer)) == drawn(made)
    for torn in (b"", b"[]", b"{", b'{"results":[{}]}', b'{"results":3}'):
        with pytest.raises(JournalError):
            LiveState.from_json(torn)
