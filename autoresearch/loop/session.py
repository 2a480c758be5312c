"""Open a night: take the locks, choose the data, begin the branch, compose the loop; and close it in any case.

`compose` is the one place where the loop's parts meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from autoresearch import disk
from autoresearch.decide import earlier_nights, early_stop, estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import AutoresearchError
from autoresearch.formats import counted
from autoresearch.loop import notify, samples, start
from autoresearch.loop.early_stopping import EarlyStopping
from autoresearch.loop.experimenter import Experimenter
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.notify import Notifier
from autoresearch.loop.readiness import Readiness
from autoresearch.loop.research import DEFAULT_RULES, Limits, Research, Rules
from autoresearch.loop.runner import Runner
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import RESULTS, Cache, Layout, checkout_lock
from autoresearch.record import pause, results_tsv, retention
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal
from autoresearch.record.journal import read as read_night
from autoresearch.record.night import Night
from autoresearch.records import Proposer, Say, TaskFacts
from autoresearch.report import status
from autoresearch.report.console import View, published
from autoresearch.system import awake, load, machine, orphans, process
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.data import corpus
from autoresearch.tasks.gpt.workbench import choose_data, workbench


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
    target_score: float | None = None  # the night ends once the incumbent's val_bpb is as low
    notify: str | None = None  # command that takes a message; "": the system's own notifications


REPORT_EVERY_S = 60.0  # between two writings of the report
TASK_FACTS = ("dataset", "profile", "fingerprint", "seq_len", "vocab_size", "eval_tokens", "eval_rows", "source")


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
    cache, repo, message_command = Cache.default(), Repository.at(root), notify.command_for(options.notify)
    layout = Layout(root, start.which_night(repo, options.tag, view.say, by_hand=options.by_hand))
    if not options.by_hand:
        start.check_uncommitted(repo, read_night(layout), view.say)
    with (
        hold(cache.machine_lock, "this machine"),
        hold(checkout_lock(root), "this checkout"),
        contextlib.ExitStack() as stack,
    ):
        process.end_orphans()
        before = read_night(layout)
        data = night_data(before, options, view.say)
        budget_s = options.time_budget_s or before.task.budget_s
        bench = workbench(data, layout.folder, root, budget_s, options.no_sandbox, view.say)
        meta = corpus.load_meta(data)
        task = TaskFacts(**{name: meta[name] for name in TASK_FACTS}, budget_s=bench.budget_s)
        before.check_resume(task)
        warn_of_load(view.say)
        if changed := corpus.changed_source(meta):
            view.say(f"data: {changed}")
        facts, branch = machine.facts(), start.open_branch(repo, layout.tag, before, options.begin_at, view.say)
        base = branch.tip()
        if not options.by_hand:
            start.check_out(branch, view.say)
        journal = stack.enter_context(Journal(layout))
        if not options.keep_pause:
            pause.end(layout)
        view = stack.enter_context(published(view, layout))
        if not journal.night.sessions:
            start.from_profile(branch, meta, view.say)
            start.fit_to_machine(branch, bench, facts, layout.fit, cache.fits(facts.slug()), view.say)
        earlier_s, versions = journal.night.elapsed_s, versions_of(bench)
        settings = {key: value for key, value in vars(options).items() if value is not None}
        journal.append(
            "opened",
            tag=layout.tag,
            task=task,
            versions=versions,
            machine=facts.to_dict(),
            base_commit=base,
            options=settings,
        )
        proposer = propose_with(facts)
        stack.callback(proposer.close)
        warn(facts, options, view.say)
        keeper = stack.enter_context(awake.Awake(view.say, layout.awake_log))
        known = cache.noise(facts.slug())
        notebook = Notebook(layout, journal, view, prior=earlier_nights.load(known, task, layout.tag))
        notifier = Notifier(message_command, view.say, journal.night.incumbent_n)
        research = compose(
            notebook,
            bench=bench,
            branch=branch,
            facts=facts,
            versions=versions,
            proposer=proposer,
            examples=earlier_nights.examples(known, task, layout.tag),
            options=options,
            rules=rules,
            must_stop=partial(must_stop, keeper),
            notifier=notifier,
        )
        view.open()
        view.state.open(layout.tag, bench.budget_s, facts.describe(), options.deadline, options.experiments, earlier_s)
        view.say(f"night: {layout.tag} on {task.dataset}/{task.profile}, {bench.budget_s:g} s of training per run")
        with closing(research, known, notifier):
            yield research


def compose(
    notebook: Notebook,
    *,
    bench: Workbench,
    branch: Branch,
    facts: machine.Facts,
    versions: Mapping[str, str],
    proposer: Proposer,
    examples: Sequence[early_stop.Example],
    options: Options,
    rules: Rules,
    must_stop: Callable[[], str | None],
    notifier: Notifier,
) -> Research:
    """Put the loop together from its parts."""
    runner = Runner(
        notebook=notebook,
        bench=bench,
        machine_slug=facts.slug(),
        readiness=Readiness(notebook, proposer.release),
        early_stopping=EarlyStopping(notebook, examples, stops_losers=rules.stops_losers),
        seed=options.seed,
    )
    experimenter = Experimenter(
        notebook=notebook,
        runner=runner,
        branch=branch,
        facts=facts,
        versions=versions,
        afterwards=Housekeeping(notebook.layout, notebook.view.say, notifier),
    )
    return Research(
        notebook=notebook,
        experimenter=experimenter,
        proposer=proposer,
        limits=Limits(options.experiments, options.deadline, run_s=bench.budget_s, target_score=options.target_score),
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


def versions_of(bench: Workbench) -> dict[str, str]:
    """Return what a baseline depends on: MLX, Python and the hash of the harness."""
    harness = hashlib.sha256(b"".join(f.read_bytes() for f in bench.harness)).hexdigest()[:16]
    return {"mlx": version("mlx"), "python": platform.python_version(), "harness": harness}


class Housekeeping:
    """Chores after each decision: remove what a decided candidate need not keep, write the report, tell of a keep."""

    def __init__(self, layout: Layout, say: Say, notifier: Notifier) -> None:
        self.layout, self.say, self.notifier = layout, say, notifier
        self._written = 0.0

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
    if why == "finished":  # after Ctrl-C a person waits for the prompt; `report` makes up for it
        samples.fill(layout, night, say, research.experimenter.runner.bench)
    if night.decided:
        write_report(layout, say)


def night_data(before: Night, options: Options, say: Say) -> Path:
    """Return the data of the night: what is asked for, else what the tag was begun on, else the best there is."""
    dataset = options.dataset or before.task.dataset
    return choose_data(dataset, options.profile or before.task.profile, say)


def _store_noise(notebook: Notebook, known: Path) -> None:
    night = notebook.night
    if night.replicates():
        own = estimates.read(night, Noise(notebook.estimates.noise.sigma_score, 1e-6)).noise
        earlier_nights.save(known, night.task, notebook.layout.tag, own, early_stop.examples(night))


def _commit_results(research: Research) -> None:
    night, branch, layout = research.night, research.experimenter.branch, research.notebook.layout
    table = results_tsv.update(layout.table, night, branch.read(RESULTS))
    if night.decided:
        count = sum(x.role == "candidate" for x in night.decided)
        branch.commit({RESULTS: table}, f"results of {layout.tag}: {counted(count, 'experiment')}")
