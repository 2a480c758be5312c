"""Open a night: take the locks, choose the data, begin the branch, compose the loop; and close it in any case.

`compose` is the one place where the loop's parts meet.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autoresearch.decide import earlier_nights, early_stop, estimates
from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.files import write_atomic
from autoresearch.formats import counted
from autoresearch.loop import notify, samples, start
from autoresearch.loop.early_stopping import EarlyStopping
from autoresearch.loop.experimenter import Experimenter
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.notify import Notifier
from autoresearch.loop.readiness import Readiness
from autoresearch.loop.research import DEFAULT_RULES, Limits, Research, Rules
from autoresearch.loop.runner import Runner
from autoresearch.metrics import Metric
from autoresearch.paths import EDITABLE, RESULTS, Cache, Layout, checkout_lock, tree
from autoresearch.record import pause, results_tsv, retention
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal
from autoresearch.record.journal import read as read_night
from autoresearch.record.night import Night
from autoresearch.records import Proposer, Say
from autoresearch.report import status
from autoresearch.report.console import View, published
from autoresearch.system import awake, disk, load, machine, orphans, process
from autoresearch.system.locks import hold
from autoresearch.tasks.command.task import CommandTask
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import Task


@dataclass(frozen=True)
class Options:
    """Options of a night; None stands for what the tag was begun with, or for the default."""

    tag: str | None = None
    dataset: str | None = None
    profile: str | None = None
    time_budget_s: float | None = None
    experiments: int | None = None
    deadline: float | None = None  # by time.time()
    seed: int = 0
    no_sandbox: bool = False
    by_hand: bool = False  # `try` and `validate`: the checkout stays as it is
    begin_at: str | None = None  # the commit that a new night begins from; None: what is checked out, or main
    display_off: bool | None = None  # on a Mac; None: neither done nor offered
    keep_pause: bool = False  # a pause outlives a reboot, but not a start by hand
    target: float | None = None  # the night ends once the incumbent's value is as good
    fleet: str | None = None  # tag of the fleet, of which this night is one class's
    notify: str | None = None  # command that takes a message; "": the system's own notifications


REPORT_EVERY_S = 60.0  # between two writings of the report; a shorter night writes it at its end


@contextlib.contextmanager
def open_night(
    root: Path,
    options: Options,
    view: View,
    propose_with: Callable[[machine.Facts], Proposer],
    rules: Rules = DEFAULT_RULES,
) -> Iterator[Research]:
    """Hold the locks and yield a night ready to run; on leaving, commit results.tsv and close the journal.

    Raises an AutoresearchError saying what is in the way: another loop, uncommitted work, missing data, no sandbox.
    """
    cache, repo = Cache.default(), Repository.at(tree(root))
    notify.command_for(options.notify)  # raises before anything is begun where there is no such command
    layout = Layout(root, start.which_night(root, repo, options.tag, view.say, by_hand=options.by_hand))
    if not options.by_hand and not layout.declared:
        start.check_uncommitted(repo, (EDITABLE,), read_night(layout), view.say)
    with hold(cache.machine_lock, "this machine"), hold(checkout_lock(root), "this checkout"):
        process.end_orphans()
        before, facts = read_night(layout), machine.facts()
        task = open_task(layout, before, facts, options, view.say)
        warn_of_load(view.say)
        with open_research(repo, layout, task, facts, options, view, propose_with, rules) as research:
            yield research


@contextlib.contextmanager
def open_research(
    repo: Repository,
    layout: Layout,
    task: Task,
    facts: machine.Facts,
    options: Options,
    view: View,
    propose_with: Callable[[machine.Facts], Proposer],
    rules: Rules,
    *,
    afterwards: Callable[[Night], None] = lambda night: None,
) -> Iterator[Research]:
    """Yield research ready to run on one branch with one journal; the caller holds the locks.

    `facts` are of the machine that the runs are made on, and `afterwards` is called after each decision.
    """
    with contextlib.ExitStack() as stack:
        before = read_night(layout)
        before.check_resume(task.facts)
        if not options.by_hand and layout.declared:
            start.check_uncommitted(repo, task.facts.files, before, view.say)
        branch = start.open_branch(repo, layout.tag, before, options.begin_at, view.say)
        base = branch.tip()
        if not options.by_hand and not layout.declared:
            start.check_out(branch, view.say)
        journal = stack.enter_context(Journal(layout))
        if not options.keep_pause:
            pause.end(layout)
        view = stack.enter_context(published(view, layout))
        if not journal.night.sessions:
            task.first_commits(branch, view.say)
        earlier_s = journal.night.elapsed_s
        _note_opening(journal, layout, task, facts, options, base)
        proposer = propose_with(facts)
        stack.callback(proposer.close)
        warn(facts, options, view.say)
        keeper = stack.enter_context(awake.Awake(view.say, layout.awake_log))
        known = Cache.default().noise(facts.slug())
        notebook = Notebook(layout, journal, view, prior=earlier_nights.load(known, task.facts, layout.tag))
        notifier = Notifier(notify.command_for(options.notify), view.say, journal.night.incumbent_n)
        research = compose(
            notebook,
            task=task,
            branch=branch,
            facts=facts,
            proposer=proposer,
            examples=earlier_nights.examples(known, task.facts, layout.tag),
            options=options,
            rules=rules,
            must_stop=partial(must_stop, keeper),
            afterwards=(Housekeeping(layout, view.say, notifier), afterwards),
        )
        view.open()
        view.state.open(layout.tag, task.run_s, facts.describe(), options.deadline, options.experiments, earlier_s)
        view.say(f"night: {layout.tag} on {task.describe()}")
        with closing(research, known, notifier):
            yield research


def _note_opening(
    journal: Journal, layout: Layout, task: Task, facts: machine.Facts, options: Options, base: str
) -> None:
    """Record the start of a session on top of the commit `base`."""
    journal.append(
        "opened",
        tag=layout.tag,
        task=task.facts,
        versions=task.versions,
        machine=facts.to_dict(),
        base_commit=base,
        options={key: value for key, value in vars(options).items() if value is not None},
    )


def open_task(layout: Layout, before: Night, facts: machine.Facts, options: Options, say: Say) -> Task:
    """Return the task of a night: the declared one that its folder holds, or training. Raises AutoresearchError."""
    if layout.declared:
        revision = start.revision(Repository.at(tree(layout.root)), before, layout.tag, options.begin_at, say)
        return CommandTask.open(tree(layout.root), layout.root, say, no_sandbox=options.no_sandbox, revision=revision)
    return GptTask.open(
        layout,
        before.task,
        facts,
        say,
        dataset=options.dataset,
        profile=options.profile,
        budget_s=options.time_budget_s,
        no_sandbox=options.no_sandbox,
    )


def _target_score(metric: Metric, target: float | None) -> float | None:
    try:
        return None if target is None else metric.score(target)
    except ValueError as error:
        raise UsageError(f"--target: {error}") from None


def compose(
    notebook: Notebook,
    *,
    task: Task,
    branch: Branch,
    facts: machine.Facts,
    proposer: Proposer,
    examples: Sequence[early_stop.Example],
    options: Options,
    rules: Rules,
    must_stop: Callable[[], str | None],
    afterwards: Sequence[Callable[[Night], None]],
) -> Research:
    """Put the loop together from its parts."""
    metric, declared = task.facts.metric, notebook.layout.declared
    runner = Runner(
        notebook=notebook,
        task=task,
        machine_slug=facts.slug(),
        readiness=Readiness(notebook, proposer.release),
        early_stopping=None if declared else EarlyStopping(notebook, examples, stops_losers=rules.stops_losers),
        seed=options.seed,
    )
    experimenter = Experimenter(
        notebook=notebook,
        runner=runner,
        branch=branch,
        facts=facts,
        versions=task.versions,
        afterwards=afterwards,
    )
    return Research(
        notebook=notebook,
        experimenter=experimenter,
        proposer=proposer,
        limits=Limits(
            options.experiments,
            options.deadline,
            run_s=task.run_s,
            target_score=_target_score(metric, options.target),
            metric=metric,
        ),
        branching=rules.branching,
        seed=options.seed,
        must_stop=must_stop,
    )


@contextlib.contextmanager
def closing(research: Research, known: Path, notifier: Notifier) -> Iterator[None]:
    """Close the night however the block ends, and record why it ended."""
    why = "an error"
    try:
        yield
        why = "finished"
    except KeyboardInterrupt as stop:
        why = str(stop) or "stopped by Ctrl-C"
        raise
    finally:
        research.notebook.view.state.end(why)
        close_night(research, why, known)
        notifier.ended(research.notebook.layout.tag, f"{why}; {status.counts(research.night)}")


def warn(facts: machine.Facts, options: Options, say: Say) -> None:
    """Show what a person should know before leaving the machine alone, and switch the display off if asked."""
    for warning in awake.warnings(facts):
        say(warning)
    for orphan in orphans.find():
        say(f"{orphan.describe()}. End it: {orphan.advice}")
    if options.display_off is not None:
        awake.darken(options.display_off, say)


def warn_of_load(say: Say) -> None:
    """Say so where other programs keep the machine busy, before anything is measured."""
    if (now := load.look()).busy:
        say(f"{now.describe()}: runs are slower and noisier, so small gains are missed. {load.ADVICE}")


def must_stop(keeper: awake.Awake) -> str | None:
    """Keep the machine awake, and return why the night has to end now, or None."""
    keeper.ensure()
    return awake.reason_to_end(machine.sample())


class Housekeeping:
    """Chores after each decision: remove what a decided candidate need not keep, write the report, tell of a keep."""

    def __init__(self, layout: Layout, say: Say, notifier: Notifier) -> None:
        self.layout, self.say, self.notifier = layout, say, notifier
        self._written = time.monotonic()

    def __call__(self, night: Night) -> None:
        retention.tidy(self.layout, night)
        self.notifier.decided(night)
        if time.monotonic() - self._written > REPORT_EVERY_S:
            write_report(self.layout, self.say)
            self._written = time.monotonic()


def write_report(layout: Layout, say: Say) -> None:
    """Write the report. A full disk ends the report, not the night."""
    from autoresearch.report import page  # it imports matplotlib, which takes half a second

    try:
        page.write(layout)
    except OSError as error:
        say(f"the report could not be written: {disk.refusal(error) or error}")


def close_night(research: Research, why: str, known: Path) -> None:
    """End a session: store what was learnt of the noise in `known`, commit results.tsv, close the journal.

    What cannot be done, e.g. on a full disk, is said. It is raised where nothing else has ended the session.
    """
    notebook, night = research.notebook, research.night
    layout, say = notebook.layout, notebook.view.say
    steps: Mapping[str, Callable[[], object]] = {
        "what the night learnt of the noise": lambda: _store_noise(notebook, known),
        "the table of results": lambda: _commit_results(research),
        "the end of the night": lambda: notebook.journal.append("closed", why=why),
    }
    problems: list[Exception] = []
    for what, step in steps.items():
        try:
            step()
        except (OSError, AutoresearchError) as error:
            reason = disk.refusal(error) if isinstance(error, OSError) else None
            say(f"{what} could not be recorded: {reason or error}")
            problems.append(error)
    if problems:
        if why == "finished":
            raise problems[0]
        return
    task = research.experimenter.task
    if why == "finished" and isinstance(task, GptTask):  # after Ctrl-C a person waits; `report` makes up for it
        samples.fill(layout, night, say, task.bench)
    if night.decided:
        write_report(layout, say)


def _store_noise(notebook: Notebook, known: Path) -> None:
    night = notebook.night
    own = estimates.read(night)
    if night.replicates() and own.metric.scatter == "noisy":
        earlier_nights.save(known, night.task, notebook.layout.tag, own.noise, early_stop.examples(night))


def _commit_results(research: Research) -> None:
    night, branch, layout = research.night, research.experimenter.branch, research.notebook.layout
    table = results_tsv.update(layout.table, night, research.experimenter.table_before())
    if night.decided and layout.declared:
        write_atomic(layout.results, table)
    elif night.decided:
        count = sum(x.role == "candidate" for x in night.decided)
        branch.commit({RESULTS: table}, f"results of {layout.tag}: {counted(count, 'experiment')}")
