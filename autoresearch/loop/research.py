"""The loop itself: ideas, one after the other, until stopped; and what has to be finished or measured before.

A kill at any moment loses no decided result: what the next start finds unfinished is finished first.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch.candidate import constants
from autoresearch.decide.keep_rule import baseline_due, incumbent_due
from autoresearch.errors import AutoresearchError, EditError, ExhaustedError, ProposerError, RepeatError, UsageError
from autoresearch.failures import KINDS
from autoresearch.findings import hints
from autoresearch.loop.experimenter import FILE, Experimenter, describe_machine, listed
from autoresearch.record import pause
from autoresearch.record.night import Experiment
from autoresearch.records import Candidate, Context, Decision, Failure, LearningProposer, Proposal, Trial, WholeFile
from autoresearch.search import gate, policy

BASELINE_RUNS = 3  # replicates of a baseline: the first look at sigma
BASELINE_RUNS_KNOWN = 2  # where earlier nights of this machine and task know sigma already
KNOWN_DF = 4.0
MAX_FAILED_TURNS = 20  # turns in a row without a candidate: no proposer has anything left to say
STARTUP_FLOOR_S = 60.0  # what a candidate's start may take in any case: new kernels, a busy machine
COMPILING_FLOOR_S = 180.0  # where g++ compiles them
EARLY = 0.1  # of the budget; failures up to then may be mended


@dataclass(frozen=True)
class Limits:
    """When the night ends. `deadline` is by time.time(); `experiments` counts candidates decided in this session."""

    experiments: int | None = None
    deadline: float | None = None
    run_s: float = 0.0  # what one run takes: none is begun that cannot end before the deadline

    def reached(self, decided: int) -> str | None:
        if self.experiments is not None and decided >= self.experiments:
            return f"{decided} experiments done"
        if self.deadline is not None and time.time() + self.run_s > self.deadline:
            return "the time is up"
        return None


@dataclass(kw_only=True)
class Research(Experimenter):
    """One night on one branch: a laboratory with somebody who has ideas, and an end."""

    limits: Limits
    versions: Mapping[str, str]
    must_stop: Callable[[], str | None] = lambda: None  # why the machine asks for an end, before each turn
    branching: bool = True  # on a long plateau, ideas may start from an ancestor
    drafts: deque[Proposal] = field(default_factory=deque)
    failed_turns: int = 0

    # --- the night ---

    def run(self, done: Callable[[], str | None] = lambda: None) -> str:
        """Researches until a limit, or until `done` has a reason, and says which.

        Raises KeyboardInterrupt when the person stops it.
        """
        self._tell_proposer()
        try:
            self.recover()
            self.ensure_baseline()
            while (why := self.limits.reached(self.decided) or self.must_stop() or done()) is None:
                if pause.asked(self.folder) is None:
                    self.turn()
                else:
                    self.rest(until=lambda: self.limits.reached(self.decided) is not None)
        finally:
            self._tell_proposer()
        return why

    def _tell_proposer(self) -> None:
        if isinstance(self.proposer, LearningProposer):
            self.proposer.learn(self.night.trials(self.source_of))

    def recover(self) -> None:
        """Finishes what an earlier session left: decisions without a commit, runs without an end, dropped ideas."""
        for x in self.night.to_quarantine():
            why = f"cut off {x.cut_offs} times with the machine; not tried again"
            self.journal.append("quarantined", n=x.n, why=why)
            self.view.say(f"#{x.n} {x.proposal.title}: {why}")
        for x in self.night.uncommitted():
            self.land(x)
        for x in (*self.night.unfinished(), *self.night.abandoned()):
            if x.role == "candidate" and self.night.incumbent is not None:
                self.view.say(f"#{x.n} {x.proposal.title}: unfinished; going on with it")
                self.try_again(x)

    def ensure_baseline(self) -> None:
        """Measures the tree's file where there is no incumbent, or where the old one no longer compares."""
        why = self.night.baseline_reason(self.versions)
        if why is None:
            self._know_limits()
            self.show_standing()
            return
        source = self.repo.read("HEAD", FILE).decode()
        begun = [x for x in (*self.night.unfinished(), *self.night.abandoned()) if x.role == "baseline"]
        if begun and self.source_of(begun[-1].n) == source:
            x = begun[-1]
        else:
            title = f"baseline ({self.facts.describe()}; {self.bench.budget_s:g} s)"
            proposal = Proposal((), title, f"measured because {why}", "other", "by hand")
            x = self.propose("baseline", Candidate(source, proposal, None))
        known = self.prior is not None and self.prior.df >= KNOWN_DF
        while len(x.bpbs) < (BASELINE_RUNS_KNOWN if known else BASELINE_RUNS):
            x = self.measure(x.n, "repeat" if x.bpbs else "search")
            if x.failure is not None:
                self.conclude(x.n, Decision("crash", None, f"{x.failure.kind}: {x.failure.message}"))
                detail = f"\n{x.failure.detail}" if x.failure.detail else ""
                mend = f"Mend {FILE}, commit it, and start again"
                if x.failure.kind in ("slow", "overrun"):
                    mend = "Begin a night with more time for a run: uv run loop.py --tag NAME --time-budget S"
                raise AutoresearchError(
                    f"the baseline does not run ({x.failure.kind}): {x.failure.message}{detail}\n"
                    f"{mend}; the log is in {self.run_dir_of(x.n, x.next_run - 1)}"
                )
        self.conclude(x.n, Decision("keep", None, f"the baseline, {len(x.bpbs)} runs"))
        self._know_limits()

    def _know_limits(self) -> None:
        """What candidates may take, by the baseline: twice its slowest start and 5 s, and a sixth of its steps."""
        runs = self.baseline().measurements
        starts = [m.seconds.get("startup", 0.0) + m.seconds.get("warmup", 0.0) for m in runs]
        compiling = sys.platform != "darwin" and "MLX_DISABLE_COMPILE" not in self.bench.env
        floor_s = COMPILING_FLOOR_S if compiling else STARTUP_FLOOR_S
        steps = min((m.num_steps for m in runs if m.num_steps), default=0)
        self.bench = replace(
            self.bench,
            startup_limit_s=max(floor_s, 2 * max(starts, default=0.0) + 5),
            min_steps=min(self.bench.min_steps, steps // 6),
        )

    def turn(self) -> None:
        """One experiment, from an idea to its record; or one failed turn; or one more run of the incumbent."""
        incumbent = self.incumbent()
        if incumbent_due(self.reading().estimate(incumbent), self.single_run_discards):
            self.rerun(incumbent)
            return
        if baseline_due(self.since_baseline) and incumbent.role != "baseline":
            self.rerun(self.baseline())
            return
        try:
            candidate = self._next_candidate()
        except ProposerError as error:
            self._turn_failed(error)
            return
        self.failed_turns = 0
        x = self.try_out(candidate)
        if x.verdict == "crash" and x.proposal.mends is None and (failure := _mendable(x)) is not None:
            self._ask_repair(x, failure)

    def attempt(self, source: str, message: str) -> Experiment:
        """One candidate from a person or an agent that drives itself, under the same rules as any other."""
        self.stops_losers = False
        self.recover()
        self.ensure_baseline()
        if constants.normalised(source) == constants.normalised(self.source_of(self.incumbent().n)):
            raise UsageError("the file computes what the incumbent computes: there is nothing to measure")
        title, _, why = message.strip().partition("\n")
        proposal = Proposal((WholeFile(source),), title[:80], why.strip() or title, "other", "by hand")
        return self.try_out(Candidate(source, proposal, self.incumbent().n, self.violations(source)))

    # --- ideas ---

    def hint(self, given: Sequence[hints.Hint]) -> None:
        """Findings of other machines, which the proposers know of from now on; the journal holds them."""
        told = hints.to_json(given)
        if told and told != list(self.night.hinted):
            self.journal.append("hinted", findings=told)
            self.view.say(f"hints: {len(given)} findings of other machines are told to the proposers")

    def context(self) -> Context:
        incumbent, now = self.incumbent(), self.reading()
        history = self.night.trials(self.source_of)
        turn = self.night.next_n
        return Context(
            source=self.source_of(self._parent(history)),
            incumbent_bpb=now.estimate(incumbent).mean,
            sigma_bpb=now.noise.sigma_bpb,
            program=read_program(self.root),
            task=self.night.task,
            machine=describe_machine(self.facts, incumbent),
            history=history,
            directive=policy.next_directive(history, turn),
            seed=self.seed,
            turn=turn,
            hints=hints.hints(self.night.hinted),
        )

    def _parent(self, history: Sequence[Trial]) -> int:
        """The experiment that the next idea edits: the incumbent, or on a long plateau one of its ancestors."""
        ancestor = policy.branch_point(history) if self.branching else None
        if ancestor is None:
            return self.incumbent().n
        return self.baseline().n if ancestor == 0 else ancestor

    def _next_candidate(self) -> Candidate:
        """Return the candidate of the next new idea, mended where it broke the contract. Raises ProposerError."""
        context = self.context()
        parent_n = self._parent(context.history)
        fresh = not self.drafts
        if fresh:
            self.view.status(f"asking {self.proposer.name} for an idea")
            self.drafts.extend(self.proposer.propose(context))
        proposal = self.drafts.popleft()
        candidate = self._admitted(context, parent_n, proposal, stale=not fresh)
        if not candidate.violations or proposal.mends is not None:
            return candidate
        repaired = self.proposer.repair(context, proposal, Failure("contract", listed(candidate.violations)))
        if repaired is None:
            return candidate
        return self._admitted(context, parent_n, replace(repaired, mends=context.turn))

    def _admitted(self, context: Context, parent_n: int, proposal: Proposal, *, stale: bool = False) -> Candidate:
        """Return the candidate that `proposal` makes. Raises ProposerError where it makes none."""
        try:
            return gate.admit(context, parent_n, proposal, self.violations)
        except RepeatError as error:
            raise ProposerError(f"{proposal.title}: {error}", reason="repeat") from error
        except EditError as error:
            why = f"dropped a stale draft, {proposal.title}: {error}" if stale else str(error)
            raise ProposerError(why) from error

    def _turn_failed(self, error: ProposerError) -> None:
        self.failed_turns += 1
        told = {"reason": str(error), "kind": error.reason, "usage": dict(error.usage)}
        self.journal.append("turn_failed", proposer=self.proposer.name, **told)
        self.view.say(f"no experiment: {error}")
        if self.failed_turns >= MAX_FAILED_TURNS:
            raise ExhaustedError(
                f"{self.failed_turns} turns in a row brought no new candidate; the last: {error}\n"
                "Go on with another proposer: uv run loop.py --proposer tuner"
            )

    def _ask_repair(self, x: Experiment, failure: Failure) -> None:
        try:
            repaired = self.proposer.repair(self.context(), x.proposal, failure)
        except ProposerError as error:
            self._turn_failed(error)
            return
        if repaired is not None:
            self.drafts.appendleft(replace(repaired, mends=x.n))


def read_program(root: Path) -> str:
    """The person's brief, word for word; empty where there is none."""
    return (root / "program.md").read_text() if (root / "program.md").exists() else ""


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
