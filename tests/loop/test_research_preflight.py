"""A change of code is tried within its turn: what fails goes back to its proposer once, and costs no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.loop.research import Limits
from autoresearch.record.night import Experiment
from autoresearch.records import Context, Failure, Proposal, SearchReplace, Set
from testbed.given import research
from testbed.scripted import Scripted, ScriptedIdea

pytestmark = pytest.mark.slow

LINE = "    opt = optim.Adam(LR)"


def code(title: str, line: str) -> ScriptedIdea:
    return title, (SearchReplace(LINE, line),)


BROKEN, AGAIN = code("broken", "    opt = broken"), code("broken again", "    opt = broken(LR)")
MENDED = code("mended", "    opt = optim.AdamW(LR)")
COST = {"answers": 1.0, "prompt_tokens": 700.0}


class Costly(Scripted):
    """Proposer whose answers cost something."""

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        return [replace(proposal, usage=COST) for proposal in super().propose(context, n)]

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        mended = super().repair(context, proposal, failure)
        return replace(mended, usage=COST) if mended else None


def tried(root: Path, proposer: Scripted) -> Experiment:
    """Return the first experiment of a night; a run of it would be a discard."""
    r = research(root, {1: [1.9]}, proposer)
    r.run(Limits(1))
    r.notebook.journal.close()
    return r.night.experiments[1]


def test_what_is_mended_is_the_turns_one_experiment_with_the_cost_of_both_answers(repository: Path) -> None:
    proposer = Costly(BROKEN, repairs=[MENDED])
    x = tried(repository, proposer)
    assert (x.proposal.title, x.verdict, len(x.runs)) == ("mended", "discard", 1)
    assert [(f.kind, f.detail) for f in proposer.failures] == [("train", "line 3")]
    usage = dict(x.proposal.usage)
    assert usage.pop("preflight_s") >= 0 and usage == {"answers": 2, "prompt_tokens": 1400, "repairs": 1}


@pytest.mark.parametrize(("repairs", "title"), [([AGAIN], "broken again"), ([], "broken")])
def test_what_fails_again_is_a_crash_that_never_ran(repository: Path, repairs: list[ScriptedIdea], title: str) -> None:
    proposer = Scripted(BROKEN, repairs=repairs)
    x = tried(repository, proposer)
    assert (x.proposal.title, x.verdict, x.runs) == (title, "crash", {})
    assert x.reason == "preflight: NameError: name 'broken' is not defined"
    assert len(proposer.failures) == 1


def test_constants_alone_are_not_tried_first(repository: Path) -> None:
    x = tried(repository, Scripted(("a rate", (Set("LR", "0.02"),))))
    assert len(x.runs) == 1 and "preflight_s" not in x.proposal.usage
