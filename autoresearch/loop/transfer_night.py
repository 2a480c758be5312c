"""Replay another machine's kept changes on this one, in a night of their own: `loop.py transfer FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.candidate import constants
from autoresearch.errors import BundleError, UsageError
from autoresearch.findings import bundle, compare, export
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import SharedMetric
from autoresearch.findings.transfer import TransferProposer, changes, sentences
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.research import Research, Rules
from autoresearch.loop.session import Options, open_night
from autoresearch.loop.sharing import bundle_of
from autoresearch.paths import Layout
from autoresearch.records import COMPARABLE
from autoresearch.report import comparison_tables
from autoresearch.report.console import choose_view
from autoresearch.system.invocation import command
from autoresearch.tasks.gpt.data.profiles import PROFILES

BUDGETS_S = (1.0, 86400.0)  # seconds of training a run that are taken from somebody's file unasked
RULES = Rules(stops_losers=False, branching=False)  # each change is measured to its end, on top of what held so far


def transfer(root: Path, file: Path, options: Options, *, details: bool = False) -> None:
    """Open or resume the transfer's night, try the changes and print what became of them.

    `options` are those of the command line; what they leave open is as it was on the other machine.
    """
    there = bundle.load(file)
    if there.task.metric != SharedMetric():
        judge = there.task.metric.name
        raise UsageError(f"{file} is of a task that {judge!a} judged, and `transfer` is for training a model")
    if there.kind == "imported" or not changes(there):
        raise UsageError(f"{file} has no kept changes to transfer")
    options = options_for(there, options)
    layout, view = Layout(root, str(options.tag)), choose_view()
    begin(layout, there)
    proposer = TransferProposer(there)
    try:
        with open_night(root, options, view, lambda facts: proposer, RULES) as research:
            research.experimenter.prepare()
            for line in differences(there, research.notebook):
                view.say(f"note: {line}")
            view.say(f"stopped: {replay(research, proposer)}")
    finally:
        view.close()
    finish(layout, there, details=details)


def begin(layout: Layout, there: Bundle) -> Bundle:
    """Keep a copy of the bundle in runs/TAG, for resuming and for the matrix. Raises BundleError for another one."""
    if not layout.origin.exists():
        layout.folder.mkdir(parents=True, exist_ok=True)
        bundle.save(there, layout.origin)
        return there
    stored = bundle.load(layout.origin)
    if stored.id != there.id:
        raise BundleError(f"{layout.tag} replays other findings ({stored.label}). Choose another night: --tag NAME")
    return stored


def replay(research: Research, proposer: TransferProposer) -> str:
    """Try every change, or as many as the limits allow, and return why it ended. A later call resumes."""
    done = "every change that applies was tried"
    return research.run(done=lambda: None if proposer.left(research.context()) else done)


def options_for(there: Bundle, options: Options) -> Options:
    """Return the options of a transfer: a night of its own, on the other's data, profile and budget by default.

    Raises BundleError for a profile that is not known here, and for a budget that no night has.
    """
    task = there.task
    if options.profile is None and task.profile not in PROFILES:
        known = ", ".join(PROFILES)
        raise BundleError(
            f"its profile {task.profile!a:.60} is not known here; there are {known}. Choose one: --profile"
        )
    if (
        options.time_budget_s is None
        and task.budget_s is not None
        and not BUDGETS_S[0] <= task.budget_s <= BUDGETS_S[1]
    ):
        raise BundleError(f"its budget is {task.budget_s:g} s a run. Choose one: --time-budget SECONDS")
    return replace(
        options,
        tag=options.tag or f"transfer-{there.id[:8]}",
        dataset=options.dataset or (task.dataset if task.dataset in export.PUBLIC else None),
        profile=options.profile or task.profile,
        time_budget_s=options.time_budget_s or task.budget_s,
    )


def differences(there: Bundle, notebook: Notebook) -> Sequence[str]:
    """Return what is not as it was on the other machine, a line each, for a person who reads the matrix."""
    night = notebook.night
    here, lines = export.shared_task(night.task), []
    for name in ("fingerprint", "profile", "budget_s"):
        a, b = getattr(there.task, name), getattr(here, name)
        if a != b:
            lines.append(f"{name} was {a} there and is {b} here: {COMPARABLE[name]}")
    baseline, theirs = notebook.baseline, there.source(there.baseline)
    if theirs is not None:
        ours = notebook.source_of(baseline.n)
        if constants.structure(ours) != constants.structure(theirs):
            lines.append("the baselines differ in their code: some changes may not apply, or mean something else")
        if differ := constants.changed(theirs, ours):
            told = ", ".join(f"{name} {a} → {b}" for name, (a, b) in list(differ.items())[:8])
            rest = f" and {len(differ) - 8} more" if len(differ) > 8 else ""
            lines.append(f"the baselines differ, there → here: {told}{rest}")
    return lines


def finish(layout: Layout, there: Bundle, *, details: bool) -> None:
    """Say what became of each change so far, and write the transfer's own findings to runs/TAG/findings.json.

    `details` prints the matrix of the gains and intervals as well.
    """
    here = bundle_of(layout)
    bundle.save(here, layout.findings)
    assert here.transfer is not None
    if details:
        comparison_tables.show_transfers(compare.compare([there, here]))
    print(*sentences(here.transfer), sep="\n")
    if left := len(changes(there)) - len(here.transfer.rows):
        print(f"{left} not tried yet; run the same command to resume")
    print(f"its own findings: {layout.findings}. To share them: {command(f'loop.py export --tag {layout.tag}')}")
