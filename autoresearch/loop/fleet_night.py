"""Research on a fleet: a night for each class of machines, and a thread for each member.

Each class has a journal, an incumbent, a sigma and a branch autoresearch/TAG-CLASS of its own, since values of two
kinds of machines do not compare. A thread takes turns on the night of its class: it tries one idea to its verdict, as
the loop of one machine does. The threads of a night hold its lock except while a member measures. What one class keeps,
the others try before anything else: only there is seen whether it travels.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from autoresearch.decide.kinds import runs_needed
from autoresearch.errors import AutoresearchError, ExhaustedError
from autoresearch.findings.hints import Hint
from autoresearch.fleet.pool import Known, Pool
from autoresearch.fleet.remote import RemoteTask, let_go
from autoresearch.formats import counted
from autoresearch.loop import newcomers, session, validate
from autoresearch.loop.readiness import Readiness
from autoresearch.loop.research import Limits, Research, Rules
from autoresearch.loop.session import Options
from autoresearch.paths import Layout, tree
from autoresearch.record import journal, pause
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Proposal, Proposer, Say, WholeFile
from autoresearch.report.console import View
from autoresearch.system import machine
from autoresearch.tasks.gpt import first_commits
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import Task

LOOK_S = 0.5  # between two looks at the members
FIRST_MEMBER_S = 3600.0  # that the coordinator waits for one
MOST_DRAFTS = 4  # that a proposer is asked for at once
MOST_MEMBERS = 64  # of a fleet
COMPARE_AGAIN_S = 60.0  # before a newcomer that could not run the baseline tries it again
MOST_RUNS = 8  # of an incumbent while nobody has ideas: more would tell little


class AtOnce(Readiness):
    """Readiness of research whose runs are made on other machines."""

    def wait(self, peak_mb: float) -> None:
        """Return at once: the member looks at its own memory and disk."""


@dataclass
class ClassNight:
    """The night of one class of machines."""

    key: str  # of the class
    research: Research
    turns: threading.Lock
    ready: threading.Event = field(default_factory=threading.Event)  # the baseline stands
    threads: dict[int, Future[None]] = field(default_factory=dict)
    waiting: int = 0  # threads that wait for their turn
    given_up: bool = False  # none of its machines was there at the end
    told_n: int | None = None  # the keep that the other classes know
    exhausted: str = ""  # why no proposer has an idea any more
    began: float = field(default_factory=time.time)

    @property
    def state(self) -> Night:
        """The night as its journal has it now."""
        return self.research.night


@dataclass
class Fleet:
    """Coordinator of the classes' nights. `view` makes the view of one, and `propose_with` its proposer."""

    root: Path
    tag: str
    task: Task
    pool: Pool
    options: Options
    view: Callable[[str], View]
    propose_with: Callable[[machine.Facts], Proposer]
    say: Say
    hints: Sequence[Hint] = ()  # of other people's machines
    nights: dict[str, ClassNight] = field(default_factory=dict)
    compared: dict[str, Future[None]] = field(default_factory=dict)  # newcomers that run the baseline, by name
    placing: threading.Lock = field(default_factory=threading.Lock)  # held while a class is chosen by a journal
    over: threading.Event = field(default_factory=threading.Event)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(MOST_MEMBERS, "member"))

    def run(self) -> str:
        """Research until a limit is reached, validate each night where there is a deadline, and return why it ended.

        Raises what a thread raised, AutoresearchError where no member came, and KeyboardInterrupt.
        """
        with contextlib.ExitStack() as stack:
            try:
                why = self._research(stack)
                self._join_threads()
                for night in self.nights.values() if self.options.deadline is not None else ():
                    self._finish(night, self.threads.submit(self._validate, night))
                return why
            finally:
                self.over.set()
                self.pool.stop()
                self.threads.shutdown()

    def _research(self, stack: contextlib.ExitStack) -> str:
        """Open a night for each class that appears, and give its members threads, until an end is reached."""
        began = time.monotonic()
        while (why := self._ended()) is None:
            for known in self.pool.members():
                if known.key is None:
                    self._place(stack, known)
            for key, members in self.pool.classes().items():
                if members or key in self.nights:
                    self._start_threads(self._opened(stack, key), members)
            if not self.nights and time.monotonic() - began > FIRST_MEMBER_S:
                raise AutoresearchError(f"no member came in {FIRST_MEMBER_S / 60:.0f} minutes")
            if self.over.wait(LOOK_S):
                raise KeyboardInterrupt("the fleet was stopped")
        return why

    def _opened(self, stack: contextlib.ExitStack, key: str) -> ClassNight:
        if key not in self.nights:
            self.nights[key] = stack.enter_context(self._night(key))
        return self.nights[key]

    def _place(self, stack: contextlib.ExitStack, known: Known) -> None:
        """Give a newcomer its class, or begin to compare it. Raises what an earlier comparison raised."""
        if (compared := self.compared.get(known.name)) is not None:
            if compared.done():
                self.compared.pop(known.name).result()
            return
        night, layout = self.nights.get(known.kind), Layout(self.root, f"{self.tag}-{known.kind}")
        with self.placing:
            state = night.state if night is not None else journal.read(layout)
            alone = not self.pool.classes().get(known.kind)
            if (key := newcomers.class_of(state, known, self.task.versions, alone=alone)) is not None:
                self.pool.assign(known.name, key)
        if key is None and pause.asked(layout) is None:
            night = self._opened(stack, known.kind)
            self.compared[known.name] = self.threads.submit(self._compare, night, known)

    def _compare(self, night: ClassNight, known: Known) -> None:
        """Compare a newcomer with the class of its kind, and give it the class that it belongs to."""
        with night.turns:
            key = newcomers.admit(night.research.experimenter.runner, known)
        if key is not None:
            self.pool.assign(known.name, key)
        elif any(here.name == known.name for here in self.pool.members()):
            self.over.wait(COMPARE_AGAIN_S if night.ready.is_set() else LOOK_S)

    def _join_threads(self) -> None:
        """End the threads, each when its run has ended. Raises what one of them raised."""
        self.over.set()
        for night in self.nights.values():
            for thread in night.threads.values():
                self._finish(night, thread)

    def _finish(self, night: ClassNight, work: Future[None]) -> None:
        """Wait for the last work on a night while a machine of its class is there. Raises what it raised."""
        while not wait([work], LOOK_S).done:
            if not self.pool.classes().get(night.key) and not night.given_up:
                night.given_up = True
                self.say(f"{night.key}: its run is given up, since none of its machines is there")
                self.pool.stop(night.key)
        with contextlib.suppress(KeyboardInterrupt):  # the run was given up
            work.result()

    # --- nights and their threads ---

    @contextlib.contextmanager
    def _night(self, key: str) -> Iterator[ClassNight]:
        """Open the night of a class."""
        facts, turns = self.pool.facts(key), threading.Lock()
        task = RemoteTask(self.task, self.pool, key, turns, partial(self._first_commits, key))
        layout, view = Layout(self.root, f"{self.tag}-{key}"), self.view(key)
        rules = Rules(stops_losers=True)
        told = partial(self._spread, key)
        repo, options = Repository.at(tree(self.root)), replace(self.options, by_hand=True, fleet=self.tag)
        with session.open_research(
            repo, layout, task, facts, options, view, self.propose_with, rules, afterwards=told
        ) as research:
            runner = research.experimenter.runner
            runner.readiness = AtOnce(research.notebook, runner.readiness.release)
            runner.rest = partial(self._rest, turns)
            night = ClassNight(key, research, turns)
            runner.at_once = partial(self._at_once, night)
            research.hint(self.hints)
            self._owe(night)
            research.draft_count = lambda: min(MOST_DRAFTS, 1 + night.waiting)
            yield night

    def _first_commits(self, key: str, branch: Branch, say: Say) -> None:
        """Commit the constants that a night begins with. Only the coordinator's own class is fitted to its machine."""
        if machine.facts().slug() == self.pool.facts(key).slug():
            self.task.first_commits(branch, say)
        elif isinstance(self.task, GptTask):
            first_commits.from_profile(branch, self.task.meta, say)
            say(
                f"{key}: it begins with the shipped constants of speed, since only a machine of its kind could fit them"
            )

    def _start_threads(self, night: ClassNight, members: int) -> None:
        """Give a night as many threads as its class has members; one too many ends at its next turn."""
        for number in [number for number, thread in night.threads.items() if thread.done()]:
            night.threads.pop(number).result()  # raises what the thread raised
        for number in range(members):
            if number not in night.threads:
                night.threads[number] = self.threads.submit(self._work, night, number)

    def _work(self, night: ClassNight, number: int) -> None:
        """Take turns until the end; the first thread measures the baseline before the others begin."""
        while not self.over.is_set():
            if pause.asked(night.research.notebook.layout) is not None:
                self.over.wait(pause.POLL_S)
                continue
            night.waiting += 1
            with night.turns:
                night.waiting -= 1
                if self.over.is_set() or number >= self.pool.classes().get(night.key, 0):
                    return
                if night.ready.is_set() and self._turn(night):
                    continue
                if number == 0 and not night.ready.is_set():
                    night.research.experimenter.prepare()
                    self._found(night)
                    night.ready.set()
                    continue
            self.over.wait(LOOK_S)

    def _found(self, night: ClassNight) -> None:
        """Let who measured the baseline work for its class; any other machine of the kind is compared first."""
        with self.placing:
            for known in self.pool.members():
                if known.key == known.kind == night.key and not newcomers.founds(night.research.notebook, known):
                    self.pool.assign(known.name, None)

    def _turn(self, night: ClassNight) -> bool:
        """Try an idea; where there is none, run the incumbent once more; return False where that has runs enough."""
        research = night.research
        try:
            if (not night.exhausted or research.drafts) and research.step():
                return True
        except ExhaustedError as error:
            night.exhausted = str(error)
        known = research.notebook.incumbent
        runs = sum(run.ended in (None, "measured") and run.searched for run in known.runs.values())
        if runs >= MOST_RUNS or not runs_needed(research.notebook.metric).reruns:
            return False
        research.experimenter.runner.rerun(known)
        return True

    def _ended(self) -> str | None:
        """Return why the night ends now, or None."""
        nights = list(self.nights.values())
        for night in nights:
            arrived = night.research.arrived() if night.ready.is_set() else None
            if (why := night.research.must_stop() or arrived) is not None:
                return why
        at_work = [night for night in nights if night.threads or night.ready.is_set()]
        if at_work and all(night.exhausted and not night.research.drafts for night in at_work):
            return at_work[0].exhausted
        decided = sum(night.research.notebook.counters.decided for night in nights)
        kept_s = max((self._reserve_s(night) for night in nights if night.ready.is_set()), default=0.0)
        return Limits(self.options.experiments, self.options.deadline, run_s=kept_s).reached(decided)

    def _reserve_s(self, night: ClassNight) -> float:
        """Return the seconds before the deadline that a night keeps for its last run and its validation."""
        if self.options.deadline is None:
            return 0.0
        run_s, members = night.research.notebook.run_s(), max(1, self.pool.classes().get(night.key, 0))
        plan = validate.affordable_plan((self.options.deadline - night.began) * members, run_s)
        return run_s + (plan.runs * run_s / members if plan else 0.0)

    def _validate(self, night: ClassNight) -> None:
        """Validate a night's winner; its members make the runs side by side."""
        assert self.options.deadline is not None
        notebook, runner = night.research.notebook, night.research.experimenter.runner
        members = max(1, self.pool.classes().get(night.key, 0))
        left_s = (self.options.deadline - time.time()) * members
        plan = validate.affordable_plan(left_s, notebook.run_s(), share=1.0) if night.ready.is_set() else None
        if plan is None:
            return
        with night.turns:
            validate.settle(night.research, plan, runner.run_all)

    def _at_once(self, night: ClassNight, works: Sequence[Callable[[], object]]) -> None:
        """Do pieces of work at once, as many as the class has members at that moment. The caller holds the lock."""
        waiting, begun = deque(works), set[Future[object]]()

        def take(work: Callable[[], object]) -> object:
            with night.turns:
                return work()

        with let_go(night.turns), ThreadPoolExecutor(MOST_MEMBERS) as threads:
            while waiting or begun:
                while waiting and len(begun) < max(1, self.pool.classes().get(night.key, 0)):
                    begun.add(threads.submit(take, waiting.popleft()))
                ended, begun = wait(begun, LOOK_S, FIRST_COMPLETED)
                for one in ended:
                    one.result()

    def _rest(self, turns: threading.Lock, wait_s: float) -> None:
        """Wait for a machine to recover while other threads go on. Raises KeyboardInterrupt where the night ends."""
        with let_go(turns):
            if self.over.wait(wait_s):
                raise KeyboardInterrupt("the night has ended")

    # --- what travels ---

    def _spread(self, key: str, state: Night) -> None:
        """Give what a class has just kept to the others, as their next idea."""
        x, night = state.incumbent, self.nights.get(key)
        if night is None or x is None or x.role == "baseline" or x.n == night.told_n:
            return
        night.told_n = x.n
        if (idea := _travelling(key, x)) is None:
            return
        others = [other for other in self.nights.values() if other.key != key]
        for other in others:
            other.research.drafts.appendleft(idea)
        if others:
            self.say(f"{key} kept #{x.n} {x.proposal.title}: tried next on {counted(len(others), 'other class')}")

    def _owe(self, night: ClassNight) -> None:
        """Give a night that opens what the others have kept before, unless it was tried there."""
        tried = {(x.proposal.proposer, x.proposal.origin) for x in night.state.experiments.values()}
        for other in self.nights.values():
            kept = other.state.ancestry(other.state.incumbent) if other.state.incumbent is not None else []
            ideas = [idea for x in kept if (idea := _travelling(other.key, x)) is not None]
            night.research.drafts.extend(idea for idea in ideas if (idea.proposer, idea.origin) not in tried)


def _travelling(key: str, x: Experiment) -> Proposal | None:
    """Return a keep of the class `key` as an idea for the others; None for a baseline, or what came from another."""
    whole = any(isinstance(edit, WholeFile) for edit in x.proposal.edits)
    if x.role == "baseline" or x.proposal.origin is not None or whole:
        return None
    return replace(x.proposal, proposer=f"fleet:{key}", origin=x.n, usage={}, mends=None, inbox_id=None, instead_of={})
