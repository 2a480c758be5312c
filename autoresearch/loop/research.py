"""Propose, measure and decide, one candidate after the other, until a limit is reached.

`loop.py run` and `loop.py transfer` run it; `loop.py try` measures one candidate with it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autoresearch.candidate import constants, edits
from autoresearch.decide.keep_rule import baseline_due, incumbent_due
from autoresearch.decide.kinds import runs_needed
from autoresearch.errors import EditError, ExhaustedError, NothingLeftError, ProposerError, RepeatError, UsageError
from autoresearch.failures import KINDS
from autoresearch.findings import hints
from autoresearch.formats import counted
from autoresearch.loop import posted
from autoresearch.loop.context import context_of
from autoresearch.loop.experimenter import Experimenter, listed
from autoresearch.loop.notebook import Notebook
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record import inbox, pause
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Candidate, Context, Failure, LearningProposer, Proposal, Proposer, Set, WholeFile
from autoresearch.search import gate
from autoresearch.search.proposer import NOTHING_LEFT
from autoresearch.system.invocation import command

MAX_FAILED_TURNS = 20  # turns in a row without a candidate: no proposer has anything left to say
EARLY = 0.1  # of the budget; failures up to then may be mended


@dataclass(frozen=True)
class Limits:
    """End of a night. `deadline` is by time.time(); `experiments` counts candidates decided in this session."""

    experiments: int | None = None
    deadline: float | None = None
    run_s: float = 0.0  # what one run takes: none is begun that cannot end before the deadline
    target_score: float | None = None  # of the incumbent's estimate
    metric: Metric = VAL_BPB

    def arrived(self, best_score: float | None) -> str | None:
        """Return that the incumbent's present estimate `best_score` has reached the target, or None."""
        if self.target_score is None or best_score is None or best_score > self.target_score:
            return None
        return f"the target is reached: {self.metric.text(best_score)}, wanted {self.metric.shown(self.target_score)}"

    def reached(self, decided: int, best_score: float | None = None) -> str | None:
        """Return why the night ends now, or None. `best_score` is the incumbent's present estimate."""
        if (why := self.arrived(best_score)) is not None:
            return why
        if self.experiments is not None and decided >= self.experiments:
            return f"{counted(decided, 'experiment')} done"
        if self.deadline is not None and time.time() + self.run_s > self.deadline:
            return "the time is up"
        return None


@dataclass(frozen=True)
class Rules:
    """How a night searches. With both off, each candidate edits the incumbent and runs to its end."""

    stops_losers: bool = True  # the early stop may end a candidate's first run at half the budget
    branching: bool = True  # on a long plateau, ideas may start from an ancestor of the incumbent


DEFAULT_RULES = Rules()


@dataclass(kw_only=True)
class Research:
    """The main loop of one night on one branch: an experimenter, a proposer, and limits."""

    notebook: Notebook
    experimenter: Experimenter
    proposer: Proposer
    limits: Limits
    branching: bool = True  # on a long plateau, ideas may start from an ancestor of the incumbent
    seed: int = 0
    must_stop: Callable[[], str | None] = lambda: None  # why the machine asks for an end, before each turn
    drafts: deque[Proposal] = field(default_factory=deque)
    draft_count: Callable[[], int] = lambda: 1  # how many ideas a proposer is asked for at once
    failed_turns: int = 0  # in a row

    @property
    def night(self) -> Night:
        return self.notebook.night

    # --- the night ---

    def run(self, limits: Limits | None = None, done: Callable[[], str | None] = lambda: None) -> str:
        """Research until the limits are reached, the machine asks for an end or `done` has a reason; return the reason.

        Raises KeyboardInterrupt when the person stops it.
        """
        limits = limits or self.limits
        self._teach()
        try:
            self.experimenter.prepare()
            while (why := self._reached(limits) or self.must_stop() or done()) is None:
                if pause.asked(self.notebook.layout) is None:
                    self.step()
                else:
                    self.experimenter.runner.readiness.pause(until=lambda: self._reached(limits) is not None)
        finally:
            self._teach()
        return why

    def arrived(self) -> str | None:
        """Return that the incumbent has reached the target, or None."""
        return self.limits.arrived(self._best_score(self.limits))

    def _reached(self, limits: Limits) -> str | None:
        return limits.reached(self.notebook.counters.decided, self._best_score(limits))

    def _best_score(self, limits: Limits) -> float | None:
        """Return the incumbent's present estimate where there is a target to compare it with."""
        notebook = self.notebook
        return notebook.estimates.estimate(notebook.incumbent).mean if limits.target_score is not None else None

    def _catch_up(self) -> None:
        """Take in what the user committed to the branch. A keep that it came before is tried again on top of it."""
        night = self.night
        lost = night.incumbent if night.head_moved else None
        self.experimenter.catch_up()
        if lost is None or any(isinstance(edit, WholeFile) for edit in lost.proposal.edits):
            return
        self.drafts.appendleft(replace(lost.proposal, usage={}, mends=None, inbox_id=None))
        self.notebook.view.say(f"#{lost.n} {lost.proposal.title}: to be tried again on your version")

    def step(self) -> bool:
        """Take in what the user committed, take one turn, and return whether it brought something to run."""
        self._catch_up()
        return self.turn()

    def _teach(self) -> None:
        """Tell a learning proposer how every idea of the night ended."""
        if isinstance(self.proposer, LearningProposer):
            self.proposer.learn(self.night.trials(self.notebook.source_of))

    def turn(self) -> bool:
        """Try one idea, of the inbox first; or record that there was none; or run incumbent or baseline once more.

        Return whether anything was run.
        """
        notebook, runner = self.notebook, self.experimenter.runner
        incumbent, counters, now = notebook.incumbent, notebook.counters, notebook.estimates
        reruns = runs_needed(now.metric).reruns and not _runs(incumbent)
        if reruns and incumbent_due(now.estimate(incumbent), counters.single_run_discards):
            since = counted(counters.single_run_discards, "candidate")
            notebook.view.say(f"#{incumbent.n} runs again: {since} in a row came nowhere near; it may have been lucky")
            runner.rerun(incumbent)
            return True
        reruns = reruns and incumbent.role != "baseline" and not _runs(notebook.baseline)
        if reruns and baseline_due(counters.since_baseline):
            notebook.view.say("the baseline runs again, which shows whether the machine has changed")
            runner.rerun(notebook.baseline)
            return True
        try:
            candidate = self._posted_candidate() or self._next_candidate()
        except ProposerError as error:
            self._turn_failed(error)
            return False
        self.failed_turns = 0
        x = self.experimenter.try_out(candidate)
        while self.experimenter.overtaken:
            again = self.experimenter.overtaken.pop()
            if not any(isinstance(edit, WholeFile) for edit in again.edits):
                self.drafts.appendleft(replace(again, usage={}, mends=None, inbox_id=None))
        if x.proposal.inbox_id is not None:
            inbox.remove(notebook.layout, x.proposal.inbox_id)
        elif x.verdict == "crash" and x.proposal.mends is None and (failure := _mendable(x)) is not None:
            self._ask_repair(x, failure)
        return True

    def attempt(self, source: str, message: str) -> Experiment:
        """Measure one candidate of a person or of an agent that drives itself, under the same rules as any other.

        Raises UsageError where the file computes what the incumbent computes.
        """
        self.experimenter.prepare()
        incumbent = self.notebook.incumbent
        if constants.normalised(source) == constants.normalised(self.notebook.source_of(incumbent.n)):
            raise UsageError("the file computes what the incumbent computes: there is nothing to measure")
        title, _, why = message.strip().partition("\n")
        proposal = Proposal((WholeFile(source),), title[:80], why.strip() or title, "other", "by hand")
        violations = self.experimenter.violations(source)
        return self.experimenter.try_out(Candidate(source, proposal, incumbent.n, violations))

    # --- ideas ---

    def hint(self, given: Sequence[hints.Hint]) -> None:
        """Put findings of other machines into the journal; every later context tells them to the proposers."""
        told = hints.for_journal(given)
        if told and told != list(self.night.hinted):
            self.notebook.journal.append("hinted", findings=told)
            self.notebook.view.say(
                f"hints: the proposers are told {counted(len(given), 'finding')} from other machines"
            )

    def context(self) -> Context:
        """Return what a proposer may know now."""
        facts, brief = self.experimenter.facts, self.experimenter.task.brief()
        program = self.experimenter.task.program()
        return context_of(self.notebook, facts, self.seed, branching=self.branching, program=program, brief=brief)

    def _posted_candidate(self) -> Candidate | None:
        """Return the candidate of the next hypothesis from outside, as a change of the incumbent."""
        notebook, experimenter = self.notebook, self.experimenter

        def context() -> Context:
            return context_of(notebook, experimenter.facts, self.seed, branching=False)

        return posted.next_candidate(notebook, context, experimenter.violations)

    def _next_candidate(self) -> Candidate:
        """Return the candidate of the next new idea. Raises ProposerError.

        Its proposer was asked to mend it where it broke the contract, or failed on small arrays.
        """
        context = self.context()
        fresh = not self.drafts
        if fresh:
            self.notebook.view.status(f"looking for the next change ({self.proposer.name})")
            self.drafts.extend(self.proposer.propose(context, self.draft_count()))
        proposal = self.drafts.popleft()
        candidate = self._admitted(context, proposal, stale=not fresh)
        refused = Failure("contract", listed(candidate.violations)) if candidate.violations else candidate.broken
        if refused is None or proposal.mends is not None:
            return candidate
        repaired = self.proposer.repair(context, candidate.proposal, refused)
        if repaired is None:
            return candidate
        cost = candidate.proposal.usage
        usage = {kind: cost.get(kind, 0.0) + repaired.usage.get(kind, 0.0) for kind in {**cost, **repaired.usage}}
        usage["repairs"] = usage.get("repairs", 0.0) + 1
        return self._admitted(context, replace(repaired, mends=context.turn, usage=usage))

    def _admitted(self, context: Context, proposal: Proposal, *, stale: bool = False) -> Candidate:
        """Return the candidate that `proposal` makes, tried on small arrays where it changes more than constants.

        Raises ProposerError where it makes none.
        """
        try:
            if stale:  # of what it sets, the version of this moment may have a part already
                proposal = replace(proposal, edits=edits.settled(context.source, proposal.edits))
            candidate = gate.admit(context, proposal, self.experimenter.violations)
        except RepeatError as error:
            raise ProposerError(f"{proposal.title}: {error}", reason="repeat") from error
        except EditError as error:
            why = f"dropped a stale draft, {proposal.title}: {error}" if stale else str(error)
            raise ProposerError(why) from error
        if candidate.violations or all(isinstance(edit, Set) for edit in proposal.edits):
            return candidate
        began = time.monotonic()
        broken = self.experimenter.preflight(candidate.source)
        took_s = proposal.usage.get("preflight_s", 0.0) + time.monotonic() - began
        usage = {**proposal.usage, "preflight_s": round(took_s, 2)}
        return replace(candidate, proposal=replace(proposal, usage=usage), broken=broken)

    def _turn_failed(self, error: ProposerError) -> None:
        self.failed_turns += 1
        told = {"reason": str(error), "kind": error.reason, "usage": dict(error.usage)}
        self.notebook.journal.append("turn_failed", proposer=self.proposer.name, **told)
        self.notebook.view.say(f"no experiment: {error}")
        last = self.failed_turns >= MAX_FAILED_TURNS
        if error.reason == NOTHING_LEFT or (last and error.reason == "exhausted"):
            raise NothingLeftError(
                f"no ideas are left: {error}\nA model has more (--proposer ollama), and so has a coding agent "
                "(--proposer command)"
            )
        if last:
            raise ExhaustedError(
                f"{self.failed_turns} turns in a row brought no new candidate; the last: {error}\n"
                f"Try another proposer: {command('loop.py --proposer tuner')}"
            )

    def _ask_repair(self, x: Experiment, failure: Failure) -> None:
        """Ask the proposer to mend a crash that cost no training; what it gives is the next draft."""
        try:
            repaired = self.proposer.repair(self.context(), x.proposal, failure)
        except ProposerError as error:
            self._turn_failed(error)
            return
        if repaired is not None:
            self.drafts.appendleft(replace(repaired, mends=x.n))


def _runs(x: Experiment) -> bool:
    """Return whether one more run of a known version is under way."""
    return any(run.ended is None and run.purpose == "incumbent" for run in x.runs.values())


def _mendable(x: Experiment) -> Failure | None:
    """Return the failure of a crash that cost little or no training."""
    failure = x.failure
    if failure is None:
        return None
    mendable = KINDS[failure.kind].mendable if failure.kind in KINDS else "never"
    m = x.measurements[-1]
    reached = m.loss_curve[-1][0] if m.loss_curve else 0.0
    early = m.training_s is None and reached <= EARLY
    return failure if mendable == "always" or (mendable == "early" and early) else None
