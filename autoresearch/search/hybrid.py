"""Share the turns of a night among several proposers by what each achieves, with a fallback for turns without an idea.

`loop.py run` asks every proposer but the tuner alone through a Hybrid.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Failure, LearningProposer, Proposal, Proposer, Trial
from autoresearch.search import policy
from autoresearch.search.policy import TurnCounts
from autoresearch.search.proposer import NOTHING_LEFT
from autoresearch.search.scorecard import Scorecard

FAILURES_BEFORE_REST = 2  # failures in a row after which a proposer is not asked for 1, 2, 4, 8, 8, ... turns
LONGEST_REST = 8  # turns
WHY_CHARS = 300  # of the reason why a proposer had no idea


@runtime_checkable
class DraftingProposer(Protocol):
    """Proposer that is slow to get ready, and is therefore asked for several ideas at once."""

    def drafts_per_load(self) -> int:
        """Return how many ideas to ask for at once."""
        ...


@runtime_checkable
class LimitedProposer(Protocol):
    """Proposer that may have nothing to say for a source; it is not asked then, and that is not a failure."""

    def has_ideas(self, context: Context) -> bool:
        """Return whether `propose` has an idea for the context."""
        ...


@dataclass(slots=True)
class Account:
    """Turns of one proposer in this process, including those without a proposal, which the history lacks."""

    asked: int = 0
    failed: int = 0
    seconds: float = 0.0  # of proposing
    in_a_row: int = 0  # failures since the last proposal
    rests_until: int = 0  # number of the experiment at which it is asked again

    def fail(self, turn: int) -> None:
        """Count a failure, and let the proposer rest after several in a row."""
        self.failed += 1
        self.in_a_row += 1
        if self.in_a_row >= FAILURES_BEFORE_REST:
            self.rests_until = turn + 1 + min(LONGEST_REST, 2 ** (self.in_a_row - FAILURES_BEFORE_REST))


class Hybrid:
    """Proposer that asks others: `proposers` share the turns, and `fallback`, one of them or not, stands in.

    Proposals keep the name of the proposer that made them. `say` gets a line for every failure. With a `scorecard`,
    each one's share begins at its rate of keeps in earlier nights. The proposer `first` is asked first while it has
    ideas. The proposer `late` has no turns while the big levers are tried, and is asked first as a plateau begins and
    in some of its turns (policy.for_late).
    """

    def __init__(
        self,
        proposers: Sequence[Proposer],
        *,
        fallback: Proposer,
        late: Proposer | None = None,
        first: Proposer | None = None,
        floor: float = policy.FLOOR,
        scorecard: Scorecard | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        if not proposers:
            raise ValueError("a hybrid needs at least one proposer")
        self.proposers, self.fallback, self.late, self.first = list(proposers), fallback, late, first
        self.floor, self.say = floor, say
        self.accounts = {proposer.name: Account() for proposer in self._everyone()}
        self.scorecard = scorecard
        self._priors = {m.name: _prior(m.name, scorecard) for m in proposers}

    @property
    def name(self) -> str:
        return " + ".join(proposer.name for proposer in self.proposers)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return n proposals, or more of a DraftingProposer, of the proposer whose turn it is, else of another.

        Raises ProposerError when none has an idea.
        """
        self.learn(context.history)
        failures: list[tuple[Proposer, ProposerError]] = []
        for proposer in self._in_order(context):
            try:
                proposals = self._ask(proposer, context, n)
            except ProposerError as error:
                failures.append((proposer, error))
                self.say(f"{proposer.name} has no idea now ({error})")
                continue
            if failures:
                self.say(f"{proposer.name} stands in")
            return [_with_cost(proposal, failures) for proposal in proposals]
        told = "; ".join(f"{one.name}: {error}" for one, error in [*failures, *self._silent(context, failures)])
        reasons = [error.reason for _, error in failures if error.reason != NOTHING_LEFT]
        reasons.sort(key=lambda reason: reason != "exhausted")  # that alone, only where nothing else is wrong
        raise ProposerError(told, reason=reasons[-1] if reasons else NOTHING_LEFT, usage=_cost(failures))

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Ask the proposer that made the proposal."""
        author = next((p for p in self._everyone() if p.name == proposal.proposer), None)
        return author.repair(context, proposal, failure) if author else None

    def learn(self, history: Sequence[Trial]) -> None:
        """Pass the history to each proposer, and keep the scorecard of those that have no `learn`."""
        for proposer in self._everyone():
            if isinstance(proposer, LearningProposer):
                proposer.learn(history)
            elif self.scorecard is not None:
                self.scorecard.learn(proposer.name, history)

    def release(self, training_mb: float | None = None) -> bool:
        stay = [proposer.release(training_mb) for proposer in self._everyone()]
        return any(stay)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # if one fails to close, the others are closed all the same
            for proposer in self._everyone():
                stack.callback(proposer.close)

    def _everyone(self) -> list[Proposer]:
        return [*self.proposers, *([] if self.fallback in self.proposers else [self.fallback])]

    def _in_order(self, context: Context) -> list[Proposer]:
        """Return the proposers in the order in which to ask: the one whose turn it is, the fallback, the others.

        Proposers that rest after failures come last; those without ideas are left out.
        """
        able = [m for m in self.proposers if not isinstance(m, LimitedProposer) or m.has_ideas(context)]
        awake = [m for m in able if self.accounts[m.name].rests_until <= context.turn]
        if not awake:
            return list(dict.fromkeys([self.fallback, *able]))
        if self.first in awake:
            return list(dict.fromkeys([self.first, self.fallback, *awake, *able]))
        if policy.for_late(context.history) and self.late in awake:
            return list(dict.fromkeys([self.late, self.fallback, *awake, *able]))
        if policy.of_lever(context.directive) and len(awake) > 1:
            awake = [proposer for proposer in awake if proposer is not self.late]
        names = [proposer.name for proposer in awake]
        budget_s = context.task.budget_s or 0.0
        counts = policy.turn_counts(context.history, names)
        counts = {name: self._with_session(name, counts[name], budget_s) for name in names}
        turn = policy.whose_turn(counts, context.seed, min(self.floor, 1 / len(awake)))
        first = next(proposer for proposer in awake if proposer.name == turn)
        return list(dict.fromkeys([first, self.fallback, *awake, *able]))

    def _silent(
        self, context: Context, asked: Sequence[tuple[Proposer, ProposerError]]
    ) -> Iterator[tuple[Proposer, ProposerError]]:
        """Yield the proposers that were not asked for having no ideas, and why they have none."""
        for proposer in self.proposers:
            if isinstance(proposer, LimitedProposer) and proposer not in [one for one, _ in asked]:
                try:
                    proposer.propose(context)
                except ProposerError as error:
                    yield proposer, error

    def _with_session(self, name: str, counts: TurnCounts, budget_s: float) -> TurnCounts:
        """Add the failed turns of this process, the cost of proposing, and the rate of earlier nights."""
        account = self.accounts[name]
        proposing_s = account.seconds / account.asked if account.asked else 0.0
        cost = round(1 + proposing_s / budget_s, 1) if budget_s else 1.0  # rounded, so that equal costs tie
        return replace(counts, turns=counts.turns + account.failed, cost=cost, prior=self._priors[name])

    def _ask(self, proposer: Proposer, context: Context, n: int) -> list[Proposal]:
        """Ask one proposer and keep its account."""
        account = self.accounts[proposer.name]
        account.asked += 1
        started = time.monotonic()
        try:
            drafts = proposer.drafts_per_load() if isinstance(proposer, DraftingProposer) else 1
            proposals = proposer.propose(context, max(n, drafts))
        except ProposerError:
            account.fail(context.turn)
            raise
        finally:
            account.seconds += time.monotonic() - started
        account.in_a_row = 0
        return proposals


def _prior(name: str, scorecard: Scorecard | None) -> float:
    """Return a proposer's rate of keeps in earlier nights, shrunk towards what is known of its kind."""
    prior = policy.prior_rate(name)
    return prior if scorecard is None else replace(scorecard.card(name).turn_counts(), prior=prior).rate


def _cost(failures: Sequence[tuple[Proposer, ProposerError]]) -> dict[str, float]:
    """Add up the usage of a turn's failed attempts, by kind."""
    used: dict[str, float] = {}
    for _, error in failures:
        for kind, amount in error.usage.items():
            used[kind] = used.get(kind, 0.0) + amount
    return used


def _with_cost(proposal: Proposal, failures: Sequence[tuple[Proposer, ProposerError]]) -> Proposal:
    """Add the usage of failed attempts to the proposal of the proposer that stood in."""
    if not failures:
        return proposal
    lost = {f"failed_{kind}": amount for kind, amount in _cost(failures).items()}
    why = {proposer.name: str(error)[:WHY_CHARS] for proposer, error in failures}
    return replace(proposal, usage={**proposal.usage, **lost}, instead_of=why)
