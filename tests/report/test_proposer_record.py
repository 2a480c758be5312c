"""What each proposer of a night cost and gave, and what a model added over the tuner."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from autoresearch.record.events import TurnFailed
from autoresearch.record.night import Experiment, Night
from autoresearch.report import analysis, proposer_record
from testbed import nights
from testbed.night_builder import NightBuilder, set_to

MODEL = "ollama:qwen3.6:27b"
NIGHT = nights.night(60)


def with_proposals(night: Night, change: dict[int, dict[str, object]]) -> Night:
    """Return the night with fields of the proposals of some experiments changed."""

    def changed(x: Experiment) -> Experiment:
        return replace(x, proposal=replace(x.proposal, **change[x.n])) if x.n in change else x

    return replace(night, experiments={n: changed(x) for n, x in night.experiments.items()})


def test_records_add_up() -> None:
    found = proposer_record.records(NIGHT)
    assert sum(r.tried for r in found) == 60 and sum(r.share for r in found) == pytest.approx(1)
    assert sum(r.gain_score for r in found) == pytest.approx(
        sum(k.gain_score or 0 for k in analysis.kept_changes(NIGHT))
    )
    assert {r.name: r.failed_turns for r in found} == {"tuner": 0, MODEL: 1}
    assert [r.turns for r in found] == sorted((r.turns for r in found), reverse=True)


def test_a_turn_in_which_another_stood_in_is_a_failed_one_with_its_cost() -> None:
    usage = {"seconds": 1.0, "failed_seconds": 90.0, "failed_prompt_tokens": 4000.0, "failed_repairs": 2.0}
    night = with_proposals(
        NIGHT, {1: {"proposer": "tuner", "usage": usage, "instead_of": {"ollama:slow": "no reply."}}}
    )
    found = {r.name: r for r in proposer_record.records(night)}
    slow = found["ollama:slow"]
    assert (slow.turns, slow.tried, slow.failed_turns, slow.repairs) == (1, 0, 1, 2)
    assert (slow.prompt_tokens, slow.seconds) == (4000, 90.0)
    assert str(slow) == (
        "ollama:slow: 1 turn (2%), 0 tried, 0 kept, 1 failed, 2 repairs, 4k tokens, 1:30 min; "
        "the latest failure: no reply."
    )


def made(model_gain: float, seed: int = 0) -> Night:
    """Make a night of 40 ideas by turns, in which the tuner's keeps gain 0.01 and the model's `model_gain`."""
    builder, rng = NightBuilder(seed=seed), random.Random(seed)
    for n in range(1, 41):
        proposal = replace(set_to("WIDTH", 32 + n), proposer=(MODEL if n % 2 else "tuner"), usage={"seconds": 5.0})
        gain = (model_gain if n % 2 else 0.01) if rng.random() < 0.5 else -0.02
        builder.candidate(proposal, gain, "keep" if gain > 0 else "discard")
    return builder.night


@pytest.mark.slow
def test_a_better_model_adds_and_an_equal_one_adds_nothing_for_sure() -> None:
    (better,) = proposer_record.added(made(0.05))
    assert better.name == MODEL and 0 < better.low_score < better.gain_score < better.high_score
    (equal,) = proposer_record.added(made(0.01))
    assert equal.low_score < 0 < equal.high_score
    assert str(better).startswith(f"{MODEL} added +") and "(90%: +" in str(better)


@pytest.mark.slow
def test_time_that_a_model_takes_counts_against_it() -> None:
    night = made(0.01)
    slow = {n: {"usage": {"seconds": 3000.0}} for n, x in night.experiments.items() if x.proposal.proposer == MODEL}
    (quick,), (lagging,) = proposer_record.added(night), proposer_record.added(with_proposals(night, slow))
    assert lagging.gain_score < quick.gain_score and lagging.high_score < 0


def test_a_few_turns_show_nothing() -> None:
    failed = tuple(TurnFailed(t=NIGHT.last_t, proposer="ollama:x", reason="gone") for _ in range(4) if NIGHT.last_t)
    assert [a.name for a in proposer_record.added(replace(NIGHT, turns_failed=failed))] == [MODEL]
    assert proposer_record.added(Night()) == [] and proposer_record.records(Night()) == []
