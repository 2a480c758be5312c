"""A night ready to run: its locks, branch, data, journal and proposer, and what is done when it is left."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.decide import earlier_nights, early_stop, estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import UsageError
from autoresearch.loop import samples
from autoresearch.loop.experimenter import FILE
from autoresearch.loop.research import Limits, Research
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import Cache, Layout
from autoresearch.record import pause, results_tsv, retention
from autoresearch.record.git import Repository, tag_of
from autoresearch.record.journal import Journal
from autoresearch.record.journal import read as read_night
from autoresearch.record.night import Night
from autoresearch.records import Proposer, Say, Set, TaskFacts
from autoresearch.report.console import View, published
from autoresearch.system import awake, machine, process
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt import calibrate
from autoresearch.tasks.gpt.data import corpus
from autoresearch.tasks.gpt.workbench import choose_data, workbench


@dataclass(frozen=True)
class Options:
    """What a person asks of a night; None leaves it to what the tag was begun with, or to the default."""

    tag: str | None = None
    dataset: str | None = None
    profile: str | None = None
    time_budget_s: float | None = None
    experiments: int | None = None
    deadline: float | None = None  # by time.time()
    seed: int = 0
    no_sandbox: bool = False
    editing: bool = False  # the editable file may have uncommitted changes: `try` measures them
    display_off: bool | None = None  # on a Mac; None: neither done nor offered
    keep_pause: bool = False  # a pause outlives a reboot, but not a start by hand


@contextlib.contextmanager
def open_night(
    root: Path, options: Options, view: View, propose_with: Callable[[machine.Facts], Proposer]
) -> Iterator[Research]:
    """A night ready to run, holding the locks; on leaving, however, results.tsv is committed and the journal closed.

    Raises an AutoresearchError saying what is in the way: another loop, uncommitted work, missing data, no sandbox.
    """
    cache = Cache.default()
    repo = Repository.at(root)
    tag = options.tag or tag_of(repo.branch()) or f"{date.today():%b%d}".lower()
    if not options.editing:
        refuse_uncommitted(repo)
    with (
        hold(cache.machine_lock, "this machine"),
        hold(root / "runs" / ".lock", "this checkout"),
        contextlib.ExitStack() as stack,
    ):
        process.end_orphans()
        folder = root / "runs" / tag
        before = read_night(folder)
        data = night_data(before, options, view.say)
        budget_s = options.time_budget_s or before.task.budget_s
        bench = workbench(data, folder, root, budget_s, options.no_sandbox, view.say)
        meta = corpus.load_meta(data)
        task = TaskFacts(**{name: meta[name] for name in TASK_FACTS}, budget_s=bench.budget_s)
        before.check_resume(task)
        facts = machine.facts()
        base = repo.begin(tag)
        journal = stack.enter_context(Journal(folder))
        if not options.keep_pause:
            pause.end(folder)
        view = stack.enter_context(published(view, folder))
        if not journal.night.sessions:
            start_from_profile(repo, meta)
            fit_to_machine(repo, bench, facts, folder / "fit", cache.fits(facts.slug()), view.say)
        harness = hashlib.sha256(b"".join(f.read_bytes() for f in bench.harness)).hexdigest()[:16]
        versions = {"mlx": version("mlx"), "python": platform.python_version(), "harness": harness}
        settings = {key: value for key, value in vars(options).items() if value is not None}
        earlier_s = journal.night.elapsed_s
        journal.append(
            "opened",
            tag=tag,
            task=task,
            versions=versions,
            machine=facts.to_dict(),
            base_commit=base,
            options=settings,
        )
        proposer = propose_with(facts)
        stack.callback(proposer.close)
        for warning in awake.warnings(facts):
            view.say(warning)
        if options.display_off is not None:
            awake.darken(options.display_off, view.say)
        held = stack.enter_context(awake.Awake(view.say, folder / "awake.log"))
        priors_path = cache.noise(facts.slug())
        limits = Limits(options.experiments, options.deadline, run_s=bench.budget_s)
        research = Research(
            root=root,
            tag=tag,
            folder=folder,
            repo=repo,
            journal=journal,
            bench=bench,
            proposer=proposer,
            view=view,
            limits=limits,
            versions=versions,
            facts=facts,
            seed=options.seed,
            prior=earlier_nights.load(priors_path, task, tag),
            earlier=earlier_nights.examples(priors_path, task, tag),
            must_stop=lambda: (held.ensure(), awake.reason_to_end(machine.sample()))[1],
            afterwards=Housekeeping(root, folder, view.say),
        )
        view.open()
        view.state.open(tag, bench.budget_s, facts.describe(), options.deadline, options.experiments, earlier_s)
        view.say(f"night: {tag} on {task.dataset}/{task.profile}, {bench.budget_s:g} s of training a run")
        why = "an error"
        try:
            yield research
            why = "finished"
        except KeyboardInterrupt as stop:
            why = str(stop) or "stopped by Ctrl-C"
            raise
        finally:
            view.state.end(why)
            close_night(research, why, priors_path)


class Housekeeping:
    """After each decision: the room that a decided candidate takes is freed, and the report is written anew."""

    def __init__(self, root: Path, folder: Path, say: Say) -> None:
        self.root, self.folder, self.say = root, folder, say
        self._written = 0.0

    def __call__(self, night: Night) -> None:
        retention.tidy(self.folder, night)
        if time.monotonic() - self._written > REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        from autoresearch.report import page  # matplotlib takes half a second to import

        try:
            page.write(Layout(self.root, self.folder.name))
        except OSError as error:  # a full disk ends the report, not the night
            self.say(f"the report could not be written: {error}")
        self._written = time.monotonic()


REPORT_EVERY_S = 60.0
TASK_FACTS = ("dataset", "profile", "fingerprint", "seq_len", "vocab_size", "eval_tokens", "eval_rows", "source")


def close_night(research: Research, why: str, priors_path: Path) -> None:
    """The last words of a session: what was learnt of the noise, the table in git, the end in the journal."""
    night = research.night
    if night.replicates():
        own = estimates.read(night, Noise(research.reading().noise.sigma_bpb, 1e-6)).noise
        earlier_nights.save(priors_path, night.task, research.tag, own, early_stop.examples(night))
    table = results_tsv.update(research.root / "results.tsv", night)
    if tag_of(research.repo.branch()) == research.tag and night.decided:
        count = sum(x.role == "candidate" for x in night.decided)
        research.repo.commit({"results.tsv": table}, f"results of {research.tag}: {count} experiments")
    research.journal.append("closed", why=why)
    if why == "finished":  # after Ctrl-C a person waits for the prompt; `report` makes up for it
        samples.fill(research.root, research.folder, research.night, research.view.say, research.bench)
    if night.decided:
        Housekeeping(research.root, research.folder, research.view.say).report()


def night_data(before: Night, options: Options, say: Say) -> Path:
    """The data a night goes on with: what is asked for, else what the tag was begun on, else the best there is."""
    dataset = options.dataset or before.task.dataset
    return choose_data(dataset, options.profile or before.task.profile, say)


def refuse_uncommitted(repo: Repository) -> None:
    """The loop commits the editable file; work of the person's in it must not be swept up."""
    if FILE in repo.changes():
        raise UsageError(
            f"{FILE} has uncommitted changes, and the loop would build on them without a record. "
            f"Run: git commit -m '...' {FILE}   (or: git checkout -- {FILE})"
        )


def start_from_profile(repo: Repository, meta: Mapping[str, Any]) -> None:
    """The branch's first commit: the constants that the data's profile starts from."""
    source = repo.read("HEAD", FILE).decode()
    known = constants.read(source)
    wanted = {k: v for k, v in meta.get("constants", {}).items() if k in known and known[k] != _value(v)}
    if wanted:
        new = edits.apply(source, [Set(name, literal) for name, literal in wanted.items()])
        listing = "\n".join(f"{name} = {literal}" for name, literal in wanted.items())
        repo.commit({FILE: new.encode()}, f"Start from the {meta['profile']} profile's constants\n\n{listing}\n")


def fit_to_machine(
    repo: Repository, bench: Workbench, facts: machine.Facts, folder: Path, memory: Path, say: Say
) -> None:
    """The branch's second commit, where this machine runs the same computation faster with other constants."""
    source = repo.read("HEAD", FILE).decode()
    found = calibrate.known(memory, source, bench)
    if found is None and any(calibrate.axes(source, bench, "gpu")):
        say("fit: measuring what is fastest on this machine, up to two minutes, once")
        found = calibrate.measure(bench, source, folder, facts, memory, say)
    if found is None or not found.edits:
        return
    new = edits.apply(source, found.edits)
    listing = ", ".join(f"{edit.name} = {edit.literal}" for edit in found.edits)
    say(f"fit: {listing}")
    repo.commit({FILE: new.encode()}, f"Fit to this machine: {listing}\n\n{facts.describe()}\n\n{found.text}\n")


def _value(literal: str) -> Any:
    return constants.read(f"X = {literal}\n")["X"]
