"""Research on a fleet: a line of research for each class of machines, and a desk for each member.

A *line* is a night of its own, with its journal, its incumbent, its sigma and its branch autoresearch/TAG-CLASS, since
values of two kinds of machines do not compare. A *desk* is a thread that takes turns on its line: it tries one idea to
its verdict, as the loop of one machine does. The desks of a line hold its lock except while a member measures. What is
kept in one line is tried in the others before anything else: only there is seen whether it travels.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from autoresearch.decide.kinds import runs_needed
from autoresearch.errors import AutoresearchError, ExhaustedError
from autoresearch.fleet.pool import Pool
from autoresearch.fleet.remote import RemoteTask
from autoresearch.formats import counted
from autoresearch.loop import session, validate
from autoresearch.loop.readiness import Readiness
from autoresearch.loop.research import Limits, Research, Rules
from autoresearch.loop.session import Options
from autoresearch.paths import Layout, tree
from autoresearch.record import pause
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Proposal, Proposer, Purpose, Say, WholeFile
from autoresearch.report.console import View
from autoresearch.system import machine
from autoresearch.tasks.gpt import first_commits
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import Task

LOOK_S = 0.5  # between two looks at the members
FIRST_MEMBER_S = 3600.0  # that the coordinator waits for one
MOST_DRAFTS = 4  # that a proposer is asked for at once
MOST_MEMBERS = 64  # of a fleet
MOST_RUNS = 8  # of an incumbent while nobody has ideas: more would tell little


class AtOnce(Readiness):
    """Readiness of a line of research whose runs are made elsewhere."""

    def wait(self, peak_mb: float) -> None:
        """Return at once: the member looks at its own memory and disk."""


@dataclass
class ClassResearch:
    """Research on the machines of one class."""

    key: str  # of the class
    research: Research
    turns: threading.Lock
    ready: threading.Event = field(default_factory=threading.Event)  # the baseline stands
    desks: dict[int, Future[None]] = field(default_factory=dict)
    waiting: int = 0  # desks that wait for their turn
    told_n: int | None = None  # the keep that the other lines know
    exhausted: str = ""  # why no proposer has an idea any more
    began: float = field(default_factory=time.time)

    @property
    def night(self) -> Night:
        return self.research.night


@dataclass
class Fleet:
    """Coordinator of the lines. `view` makes the view of a line, and `propose_with` its proposer."""

    root: Path
    tag: str
    task: Task
    pool: Pool
    options: Options
    view: Callable[[str], View]
    propose_with: Callable[[machine.Facts], Proposer]
    say: Say
    lines: dict[str, ClassResearch] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(MOST_MEMBERS, "desk"))

    def run(self) -> str:
        """Research until the limits are reached, validate each line where there is a deadline, and return why it ended.

        Raises what a desk raised, AutoresearchError where no member came, and KeyboardInterrupt.
        """
        with contextlib.ExitStack() as lines:
            try:
                why = self._research(lines)
                self._rise()
                for line in self.lines.values() if self.options.deadline is not None else ():
                    self._validate(line)
                return why
            finally:
                self.over.set()
                self.pool.stop()
                self.threads.shutdown()

    def _research(self, lines: contextlib.ExitStack) -> str:
        """Open a line for each class that appears, and seat its members, until the night ends."""
        began = time.monotonic()
        while (why := self._ended()) is None:
            for key, members in self.pool.classes().items():
                if key not in self.lines and members:
                    self.lines[key] = lines.enter_context(self._line(key))
                if key in self.lines:
                    self._seat(self.lines[key], members)
            if not self.lines and time.monotonic() - began > FIRST_MEMBER_S:
                raise AutoresearchError(f"no member came in {FIRST_MEMBER_S / 60:.0f} minutes")
            self.over.wait(LOOK_S)
        return why

    def _rise(self) -> None:
        """End the desks, each when its run has ended. Raises what one of them raised."""
        self.over.set()
        for line in self.lines.values():
            for desk in line.desks.values():
                while not wait([desk], LOOK_S).done:
                    if not self.pool.classes().get(line.key):
                        self.say(f"{line.key}: its run is given up, since none of its machines is there")
                        self.pool.stop(line.key)
                with contextlib.suppress(KeyboardInterrupt):  # the run was given up
                    desk.result()

    # --- lines and desks ---

    @contextlib.contextmanager
    def _line(self, key: str) -> Iterator[ClassResearch]:
        """Open the line of a class."""
        facts, turns = self.pool.facts(key), threading.Lock()
        task = RemoteTask(self.task, self.pool, key, turns, partial(self._first_commits, key))
        layout, view = Layout(self.root, f"{self.tag}-{key}"), self.view(key)
        rules = Rules(stops_losers=True)
        told = partial(self._spread, key)
        repo, options = Repository.at(tree(self.root)), replace(self.options, by_hand=True)
        with session.open_line(
            repo, layout, task, facts, options, view, self.propose_with, rules, afterwards=told
        ) as research:
            runner = research.experimenter.runner
            runner.readiness = AtOnce(research.notebook, runner.readiness.release)
            line = ClassResearch(key, research, turns)
            self._owe(line)
            research.draft_count = lambda: min(MOST_DRAFTS, 1 + line.waiting)
            yield line

    def _first_commits(self, key: str, branch: Branch, say: Say) -> None:
        """Commit what a line begins with: without the fit to a machine, which is of the coordinator's own class."""
        if machine.facts().slug() == key:
            self.task.first_commits(branch, say)
        elif isinstance(self.task, GptTask):
            first_commits.from_profile(branch, self.task.meta, say)
            say(
                f"{key}: it begins with the shipped constants of speed, since only a machine of its kind could fit them"
            )

    def _seat(self, line: ClassResearch, members: int) -> None:
        """Give a line as many desks as its class has members; those that left leave theirs at their next turn."""
        for number in [number for number, desk in line.desks.items() if desk.done()]:
            line.desks.pop(number).result()  # raises what the desk raised
        for number in range(members):
            if number not in line.desks:
                line.desks[number] = self.threads.submit(self._work, line, number)

    def _work(self, line: ClassResearch, number: int) -> None:
        """Take turns until the end; the first desk measures the baseline before the others begin."""
        while not self.over.is_set():
            if pause.asked(line.research.notebook.layout) is not None:
                self.over.wait(pause.POLL_S)
                continue
            line.waiting += 1
            with line.turns:
                line.waiting -= 1
                if self.over.is_set() or number >= self.pool.classes().get(line.key, 0):
                    return
                if line.ready.is_set() and self._turn(line):
                    continue
                if number == 0 and not line.ready.is_set():
                    line.research.experimenter.prepare()
                    line.ready.set()
                    continue
            self.over.wait(LOOK_S)

    def _turn(self, line: ClassResearch) -> bool:
        """Try an idea; where there is none, run the incumbent once more, and return False where that is well known."""
        research = line.research
        try:
            if (not line.exhausted or research.drafts) and research.step():
                return True
        except ExhaustedError as error:
            line.exhausted = str(error)
        known = research.notebook.incumbent
        runs = sum(run.ended in (None, "measured") for run in known.runs.values())
        if runs >= MOST_RUNS or not runs_needed(research.notebook.metric).reruns:
            return False
        research.experimenter.runner.rerun(known)
        return True

    def _ended(self) -> str | None:
        """Return why the night ends now, or None."""
        lines = list(self.lines.values())
        for line in lines:
            if (why := line.research.must_stop() or self._arrived(line)) is not None:
                return why
        if lines and all(line.exhausted and not line.research.drafts for line in lines):
            return lines[0].exhausted
        decided = sum(line.research.notebook.counters.decided for line in lines)
        kept_s = max((self._reserve_s(line) for line in lines if line.ready.is_set()), default=0.0)
        return Limits(self.options.experiments, self.options.deadline, run_s=kept_s).reached(decided)

    def _arrived(self, line: ClassResearch) -> str | None:
        """Return that a line has reached the target, or None."""
        limits = line.research.limits
        if limits.target_score is None or not line.ready.is_set():
            return None
        notebook = line.research.notebook
        best_score = notebook.estimates.estimate(notebook.incumbent).mean
        return Limits(target_score=limits.target_score, metric=limits.metric).reached(0, best_score)

    def _reserve_s(self, line: ClassResearch) -> float:
        """Return the seconds before the deadline that a line keeps for its last run and its validation."""
        if self.options.deadline is None:
            return 0.0
        run_s, members = line.research.notebook.run_s(), max(1, self.pool.classes().get(line.key, 0))
        plan = validate.affordable_plan((self.options.deadline - line.began) * members, run_s)
        return run_s + (plan.runs * run_s / members if plan else 0.0)

    def _validate(self, line: ClassResearch) -> None:
        """Validate a line's winner; its members make the runs side by side."""
        assert self.options.deadline is not None
        notebook, runner = line.research.notebook, line.research.experimenter.runner
        members = max(1, self.pool.classes().get(line.key, 0))
        left_s = (self.options.deadline - time.time()) * members
        plan = validate.affordable_plan(left_s, notebook.run_s(), share=1.0) if line.ready.is_set() else None
        if plan is None:
            return

        def run(n: int, purpose: Purpose, seed: int | None) -> None:
            with line.turns:
                runner.run(n, purpose, seed)

        def run_all(runs: Sequence[validate.Wanted]) -> None:
            with ThreadPoolExecutor(members) as threads:
                list(threads.map(lambda wanted: run(*wanted), runs))

        validate.settle(line.research, plan, run_all)

    # --- what travels ---

    def _spread(self, key: str, night: Night) -> None:
        """Give what a line has just kept to the others, as their next idea."""
        x, line = night.incumbent, self.lines.get(key)
        if line is None or x is None or x.role == "baseline" or x.n == line.told_n:
            return
        line.told_n = x.n
        if (idea := _travelling(key, x)) is None:
            return
        others = [other for other in self.lines.values() if other.key != key]
        for other in others:
            other.research.drafts.appendleft(idea)
        if others:
            self.say(f"{key} kept #{x.n} {x.proposal.title}: tried next on {counted(len(others), 'other class')}")

    def _owe(self, line: ClassResearch) -> None:
        """Give a line that opens what the others have kept before, unless it has been tried there."""
        tried = {(x.proposal.proposer, x.proposal.origin) for x in line.night.experiments.values()}
        for other in self.lines.values():
            kept = other.night.line(other.night.incumbent) if other.night.incumbent is not None else []
            ideas = [idea for x in kept if (idea := _travelling(other.key, x)) is not None]
            line.research.drafts.extend(idea for idea in ideas if (idea.proposer, idea.origin) not in tried)


def _travelling(key: str, x: Experiment) -> Proposal | None:
    """Return a keep of the class `key` as an idea for the others; None for a baseline, or what came from another."""
    whole = any(isinstance(edit, WholeFile) for edit in x.proposal.edits)
    if x.role == "baseline" or x.proposal.origin is not None or whole:
        return None
    return replace(x.proposal, proposer=f"fleet:{key}", origin=x.n, usage={}, mends=None, inbox_id=None, instead_of=())
