"""Sharing the night: whose turn it is, who stands in, and the messages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Failure, Proposal, Set, TaskFacts, Trial, Verdict
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.policy import TurnCounts
from autoresearch.search.scorecard import Card, Scorecard
from autoresearch.search.tuner.tuner import Tuner

SOURCE = "DEPTH = 4\nLR = 0.1\ndef build_model(task): return DEPTH\ndef train(model, run): return LR\n"


class Scripted:
    """Proposer that gives one idea per turn, or fails on the turns in `fails`."""

    def __init__(self, name: str, fails: Sequence[int] | bool = (), *, takes_s: float = 0.0, drafts: int = 1) -> None:
        self.name, self.fails, self.takes_s, self.drafts = name, fails, takes_s, drafts
        self.asked: list[int] = []
        self.calls: list[str] = []

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        self.asked.append(context.turn)
        time.sleep(self.takes_s)
        if self.fails is True or (self.fails and context.turn in self.fails):
            raise ProposerError(
                "the server is gone", reason="server_gone", usage={"seconds": 2.0, "answer_tokens": 7.0}
            )
        idea = Proposal(
            (Set("DEPTH", str(context.turn + 10)),), f"idea {context.turn}", "", "depth", self.name, {"seconds": 1.0}
        )
        return [idea] * n

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        self.calls.append("repair")
        return proposal

    def release(self, training_mb: float | None = None) -> bool:
        self.calls.append("release")
        return False

    def close(self) -> None:
        self.calls.append("close")
        if self.fails is True:
            raise ProposerError("it does not close")


class Drafting(Scripted):
    def drafts_per_load(self) -> int:
        return self.drafts


def context(history: Sequence[Trial] = (), turn: int | None = None) -> Context:
    turn = len(history) + 1 if turn is None else turn
    return Context(SOURCE, 1.0, 0.01, "", TaskFacts(budget_s=10.0), "", tuple(history), turn=turn)


def night(hybrid: Hybrid, turns: int, keeps: dict[str, float]) -> list[Trial]:
    """Return a night in which each proposer's experiments are kept at its rate in `keeps`."""
    history: list[Trial] = []
    made = Counter[str]()
    for n in range(1, turns + 1):
        proposal = hybrid.propose(context(history))[0]
        made[proposal.proposer] += 1
        rate, count = keeps.get(proposal.proposer, 0.0), made[proposal.proposer]
        verdict: Verdict = "keep" if int(count * rate) > int((count - 1) * rate) else "discard"
        history.append(
            Trial(
                n,
                proposal.proposer,
                proposal.title,
                "",
                "depth",
                proposal.edits,
                SOURCE,
                SOURCE,
                verdict,
                "",
                0.0,
                0.01,
                1.0,
            )
        )
    return history


def test_turns_are_shared_by_what_each_achieves() -> None:
    tuner, model = Scripted("tuner"), Scripted("ollama:x")
    shared = Counter(trial.proposer for trial in night(Hybrid([tuner, model], fallback=tuner), 40, {"tuner": 0.25}))
    assert 7 <= shared["ollama:x"] <= 11  # the floor of a tenth, and some turns more at the beginning
    even = Counter(trial.proposer for trial in night(Hybrid([Scripted("a"), Scripted("b")], fallback=tuner), 20, {}))
    assert even == {"a": 10, "b": 10}


@pytest.mark.slow
def test_a_slow_proposer_gets_fewer_turns() -> None:
    slow, tuner = Scripted("slow", takes_s=0.1), Scripted("tuner")
    hybrid = Hybrid([slow, tuner], fallback=tuner, floor=0.1)
    history: list[Trial] = []
    for n in range(1, 41):
        short = replace(context(history), task=TaskFacts(budget_s=0.03))
        proposal = hybrid.propose(short)[0]
        history.append(Trial(n, proposal.proposer, "", "", "depth", (), SOURCE, SOURCE, "discard", "", 0.0, 0.01, 1.0))
    assert 4 <= len(slow.asked) <= 15  # an even share would be 20


def test_the_fallback_stands_in_and_it_is_said() -> None:
    said: list[str] = []
    model, tuner = Scripted("ollama:x", True), Tuner()
    hybrid = Hybrid([model], fallback=tuner, say=said.append)
    (proposal,) = hybrid.propose(context())
    assert (proposal.proposer, proposal.title) == ("tuner", "DEPTH 4 -> 2")
    assert proposal.instead_of == {"ollama:x": "the server is gone"}
    assert (proposal.usage["failed_seconds"], proposal.usage["failed_answer_tokens"]) == (2.0, 7.0)
    assert said == ["ollama:x has no idea now (the server is gone)", "tuner stands in"]
    assert {name: (account.asked, account.failed) for name, account in hybrid.accounts.items()} == {
        "ollama:x": (1, 1),
        "tuner": (1, 0),
    }


def test_who_fails_again_and_again_rests_longer_and_longer_and_comes_back() -> None:
    model, tuner = Scripted("ollama:x", range(1, 30)), Scripted("tuner")
    hybrid = Hybrid([model], fallback=tuner)
    made = [hybrid.propose(context(turn=n))[0].proposer for n in range(1, 50)]
    assert model.asked[:7] == [1, 2, 4, 7, 12, 21, 30]  # it rests for 1, 2, 4, 8 and 8 turns
    assert set(made[:29]) == {"tuner"}
    assert set(made[29:]) == {"ollama:x"}


def test_who_rests_is_asked_where_nobody_else_has_an_idea() -> None:
    """The tuner has no setting left to try, and the server has just come back."""
    model, tuner = Scripted("ollama:x", [1, 2]), Scripted("tuner", range(3, 20))
    hybrid = Hybrid([model], fallback=tuner)
    assert [hybrid.propose(context(turn=n))[0].proposer for n in (1, 2, 3)] == ["tuner", "tuner", "ollama:x"]


def test_shares_begin_at_the_record_of_earlier_nights(tmp_path: Path) -> None:
    def shared(tuner: Card, model: Card) -> int:
        scorecard = Scorecard(tmp_path / "none.json", "mac")
        scorecard.card("tuner").kept, scorecard.card("tuner").decided = tuner.kept, tuner.decided
        scorecard.card("ollama:x").kept, scorecard.card("ollama:x").decided = model.kept, model.decided
        proposers = [Scripted("tuner"), Scripted("ollama:x")]
        hybrid = Hybrid(proposers, fallback=proposers[0], scorecard=scorecard)
        return Counter(trial.proposer for trial in night(hybrid, 12, {}))["ollama:x"]

    nothing, much = Card(decided=60, kept=0), Card(decided=60, kept=15)
    assert shared(much, nothing) == 1  # the floor
    assert shared(Card(), Card()) == 5  # the tuner is known for a keep in five turns
    assert shared(nothing, much) == 10


def test_the_tuner_s_record_is_kept_for_later_nights(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    tuner = Scripted("tuner")
    hybrid = Hybrid([tuner], fallback=tuner, scorecard=scorecard)
    history = night(hybrid, 9, {"tuner": 0.25})
    kept = Scorecard(tmp_path / "scorecard.json", "mac")
    assert kept.card("tuner").turn_counts() == TurnCounts(8, 2)  # the hybrid has not been told of the ninth yet
    for _ in range(2):
        hybrid.learn(history)
    resumed = Hybrid([tuner], fallback=tuner, scorecard=Scorecard(tmp_path / "scorecard.json", "mac"))
    resumed.propose(context(history))
    kept = Scorecard(tmp_path / "scorecard.json", "mac")
    assert kept.card("tuner").turn_counts() == TurnCounts(9, 2)  # nothing counted twice


def test_failed_turns_count_against_a_proposer_though_history_does_not_show_them() -> None:
    model, tuner = Scripted("ollama:x", range(1, 100)), Scripted("tuner")
    history = night(Hybrid([model, tuner], fallback=tuner), 40, {})
    assert {trial.proposer for trial in history} == {"tuner"}
    assert len(model.asked) <= 10


def test_where_the_tuner_is_at_its_end_the_other_goes_on() -> None:
    tuner, model = Scripted("tuner", True), Scripted("ollama:x")
    assert {trial.proposer for trial in night(Hybrid([tuner, model], fallback=tuner), 5, {})} == {"ollama:x"}


def test_where_nobody_has_an_idea_all_reasons_are_given() -> None:
    hybrid = Hybrid([Scripted("a", True), Scripted("b", True)], fallback=Scripted("c", True))
    with pytest.raises(ProposerError, match="a: the server is gone") as raised:
        hybrid.propose(context())
    assert str(raised.value).count("the server is gone") == 3
    assert raised.value.reason == "server_gone"
    assert raised.value.usage == {"seconds": 6.0, "answer_tokens": 21.0}


def test_what_is_slow_to_load_is_asked_for_several_ideas_at_once() -> None:
    hybrid = Hybrid([Drafting("ollama:x", drafts=3)], fallback=Scripted("tuner"))
    assert len(hybrid.propose(context())) == 3
    assert len(hybrid.propose(context(), 5)) == 5


def test_repairs_go_to_the_author_release_and_close_to_all() -> None:
    a, b, tuner = Scripted("a"), Scripted("b", True), Scripted("tuner")
    hybrid = Hybrid([a, b], fallback=tuner)
    idea = Proposal((), "", "", "depth", "b")
    assert hybrid.repair(context(), idea, Failure("import", "")) is idea
    assert hybrid.repair(context(), Proposal((), "", "", "depth", "by hand"), Failure("import", "")) is None
    hybrid.release()
    with pytest.raises(ProposerError, match="does not close"):
        hybrid.close()
    assert (a.calls, b.calls, tuner.calls) == (
        ["release", "close"],
        ["repair", "release", "close"],
        ["release", "close"],
    )


def test_a_night_is_repeatable() -> None:
    def made() -> list[str]:
        return [
            t.proposer for t in night(Hybrid([Scripted("a"), Scripted("b")], fallback=Scripted("a")), 12, {"a": 0.3})
        ]

    assert made() == made()


def test_nobody_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Hybrid([], fallback=Tuner())
