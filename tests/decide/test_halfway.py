"""The early stop in a night's journal: what it teaches, what was stopped, and what that saved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.decide import halfway
from autoresearch.decide.early_stop import Finished
from autoresearch.records import Measurement
from testbed.made_nights import EXACT, Made, set_to

STOPPED = Measurement(1, total_s=180.0, behind_nats=0.4, stop_limit_nats=0.2)


def looked_at(made: Made, gain: float, behind: float, *, limit: float | None = None) -> int:
    """A candidate whose first run was looked at halfway, and ran on."""
    n = made.candidate(set_to("LR", round(0.001 * len(made.sources), 4)), gain, "discard")
    event = next(e for e in made.events if e["type"] == "measured" and e["n"] == n)
    event["measurement"] = replace(event["measurement"], behind_nats=behind, stop_limit_nats=limit)
    return n


def stopped(made: Made) -> int:
    n = made.propose("candidate", set_to("WIDTH", 16), made.sources[0], 0.0)
    made.add("started", n=n, run=0, seed=1, purpose="search")
    made.add("measured", seconds=180.0, n=n, run=0, measurement=STOPPED)
    made.decide(n, "discard", halfway.reason(STOPPED))
    return n


def test_a_night_teaches_how_those_ended_that_were_looked_at() -> None:
    made = Made(sigma_bpb=EXACT)
    looked_at(made, -0.05, 0.1)
    looked_at(made, 0.02, -0.1, limit=0.2)
    stopped(made)  # how it would have ended, nobody knows
    found = halfway.finished(made.night)
    assert found == [
        Finished(0.1, pytest.approx(-0.05, abs=1e-6)),
        Finished(-0.1, pytest.approx(0.02, abs=1e-6), 0.2),
    ]


def test_the_curve_is_of_the_incumbents_latest_runs() -> None:
    made = Made()
    for k, event in enumerate(e for e in made.events if e["type"] == "measured"):
        event["measurement"] = replace(event["measurement"], loss_curve=((0.5, float(k)),))
    made.run(0, "incumbent")
    made.events[-1]["measurement"] = replace(made.events[-1]["measurement"], loss_curve=((0.5, 9.0),))
    assert halfway.curve(made.night.experiments[0]) == [(0.5, 1.0), (0.5, 2.0), (0.5, 9.0)]


def test_what_was_stopped_is_counted_with_its_samples() -> None:
    made = Made(sigma_bpb=EXACT)
    assert halfway.text(made.night) is None
    looked_at(made, -0.05, 0.4, limit=0.2)  # a sample, and a loser
    stopped(made)
    assert halfway.past_limit(made.night) == 2
    assert halfway.saved_s(made.night) == pytest.approx(330.0 - 180.0)
    text = halfway.text(made.night) or ""
    assert "1 of 2 experiments ended at 50%" in text and "150 s saved" in text
    assert "1 more ran on as samples, 0 of them no worse" in text


def test_the_reason_has_both_numbers() -> None:
    assert halfway.reason(STOPPED) == (
        "stopped at 50% of the budget: its loss was 0.400 nats above the incumbent's (limit 0.200)"
    )
