"""Run a night with a proposer that gives scripted ideas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.loop.session import Options, open_night
from autoresearch.record.night import Night
from autoresearch.records import Context, Edit, Failure, Proposal, SearchReplace, Set, Trial
from autoresearch.report.console import PlainView
from autoresearch.search.proposer import BaseProposer

ScriptedIdea = tuple[str, tuple[Edit, ...]]


class Scripted(BaseProposer):
    """Proposer that gives its ideas in order, and records what it was asked and told."""

    name = "scripted"

    def __init__(self, *ideas: ScriptedIdea, repairs: Sequence[ScriptedIdea] = ()) -> None:
        self.ideas, self.repairs = list(ideas), list(repairs)
        self.failures: list[Failure] = []
        self.contexts: list[Context] = []
        self.released = 0
        self.told: list[list[int]] = []

    def learn(self, history: Sequence[Trial]) -> None:
        self.told.append([trial.n for trial in history])

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        self.contexts.append(context)
        if not self.ideas:
            raise ProposerError("no more lines")
        return [self._say(self.ideas.pop(0))]

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        self.failures.append(failure)
        return self._say(self.repairs.pop(0)) if self.repairs else None

    def release(self, training_mb: float | None = None) -> bool:
        self.released += 1
        return False

    def _say(self, idea: ScriptedIdea) -> Proposal:
        return Proposal(idea[1], idea[0], f"{idea[0]}: worth a try", "other", self.name)


def night(root: Path, proposer: Scripted, experiments: int = 1, **options: object) -> Night:
    chosen = Options(dataset="toy", profile="tiny", time_budget_s=1.0, experiments=experiments, **options)
    with open_night(root, chosen, PlainView(), lambda facts: proposer) as research:
        research.run()
        return research.night


# Learning 100 times more slowly is worse by hundreds of sigma; a better initial head gains as many.
WORSE: ScriptedIdea = ("learn slowly", (Set("LR", "0.0001"),))
SLOWER: ScriptedIdea = ("learn very slowly", (Set("LR", "0.00001"),))
BROKEN: ScriptedIdea = ("forget a bracket", (SearchReplace("    opt = optim.Adam(LR)", "    opt = optim.Nothing(LR)"),))
