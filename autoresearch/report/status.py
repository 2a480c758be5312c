"""Sum a night up in a few lines of text: for `status`, for `watch`, and for the end of a session."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch.decide import early_stop, estimates, validation
from autoresearch.errors import GitError, UsageError
from autoresearch.formats import VERDICT_STYLES, counted, run_name, span
from autoresearch.metrics import Metric
from autoresearch.paths import Layout, runs_folder
from autoresearch.record import journal, pause
from autoresearch.record.git import Repository, branch_name, tag_of
from autoresearch.record.night import Experiment, Night
from autoresearch.report import analysis, machine_night, proposer_record
from autoresearch.report.analysis import Headline
from autoresearch.system.invocation import command

if TYPE_CHECKING:
    from autoresearch.report.live_state import LiveState

COLUMNS = ("#", "verdict", "{metric}", "runs", "title", "reason", "proposer")
NUMBERS = ("#", "{metric}", "runs")  # of the columns: those at the right
WIDE = 110  # columns of a terminal from which on the words have columns of their own


def text(night: Night, *, running: bool = False) -> str:
    """Return counts, gain and the next commands, of a night that runs at this moment or does not. No I/O.

    text(night) -> "nov23: 12 experiments (3 keep, 8 discard, 1 crash) in 9:00 min\\nval_bpb 2.4012 -> 2.2671 ..."
    """
    h, fit = analysis.headline(night), estimates.read(night).fit
    parts = [
        f"{night.tag}: {counts(night)} in {span(h.elapsed_s)}",
        _gain(h),
        fit.text(h.metric) if fit else None,
        early_stop.text(night),
        machine_night.busy_text(night),
        machine_night.other_class_text(night),
        validation.text(night),
        *_ideas(night),
        f"the kept changes: git log {branch_name(night.tag)}" if h.keeps else None,
        f"watch it: {command('loop.py watch')}" if running else next_step(night),
    ]
    return "\n".join(part for part in parts if part)


def _ideas(night: Night) -> list[str]:
    """Return a line on each proposer, where there are several or turns failed, and what a model added."""
    found = proposer_record.records(night)
    if len(found) == 1 and not found[0].failed_turns:
        return []
    return [f"proposer {record}" for record in found] + [str(line) for line in proposer_record.added(night)]


def next_step(night: Night) -> str:
    """Return the commands for what a person does next with a night that has ended."""
    h = analysis.headline(night)
    resume = f"resume: {command(night.resuming)}"
    if not h.keeps:
        return resume
    if h.interval is None:
        return f"{resume}\nnext, is the gain real? {command(f'loop.py validate --tag {night.tag}')}"
    if h.interval.real:
        return f"{resume}\nnext, take it home to your own branch: {command(f'loop.py adopt --tag {night.tag}')}"
    return f"{resume}; the validation proves no gain yet"


def counts(night: Night) -> str:
    """Count the experiments of a night by verdict: "12 experiments (3 keep, 8 discard, 1 crash)"."""
    h = analysis.headline(night)
    return f"{counted(h.experiments, 'experiment')} ({h.keeps} keep, {h.discards} discard, {h.crashes} crash)"


def _gain(h: Headline) -> str | None:
    """Return the search's own gain in a line; None before a baseline is measured."""
    if h.baseline_score is None or h.best_score is None:
        return None
    metric, change = h.metric, h.baseline_score - h.best_score
    sigma = f"sigma of one run {metric.size(h.sigma_score)}" if h.sigma_score else "runs of one version agree"
    if change == 0:
        return f"{metric.text(h.baseline_score)}, the baseline's: nothing better was kept; {sigma}"
    gain = f"{metric.signed(change)}; {sigma}"
    if h.sigma_score:
        gain = f"{change / h.sigma_score:+.1f} sigma of one run, sigma {metric.size(h.sigma_score)}"
    values = f"{metric.text(h.baseline_score)} -> {metric.shown(h.best_score)}"
    return f"{values} ({gain}); the search's own figure, which is optimistic"


def find_tag(root: Path, tag: str | None) -> str:
    """Return the tag of the night that is meant: `tag`, else this branch's night, else the one written last.

    Raises UsageError where there is no such night.
    """
    if tag is not None:
        if not Layout(root, tag).journal.is_file():
            raise UsageError(f"there is no night {tag} in {runs_folder(root)}. See: ls {runs_folder(root)}")
        return tag
    current = None
    with contextlib.suppress(GitError):  # a night can be read without git
        current = tag_of(Repository(root).branch())
    if current and Layout(root, current).journal.is_file():
        return current
    nights = journal.nights(root)
    if not nights:
        raise UsageError(f"no night has begun here. Run: {command('loop.py')}")
    return nights[-1]


def status(root: Path, tag: str | None, console: Console | None = None) -> None:
    """Print the night so far: its summary, what is running, and a table of its experiments. Raises UsageError."""
    console = console or Console()
    layout = Layout(root, find_tag(root, tag))
    night = journal.read(layout)
    live = _live(layout)
    console.print(text(night, running=live is not None), highlight=False)
    if layout.report.exists():
        console.print(f"report: {layout.report}", highlight=False, soft_wrap=True)
    if pause.asked(layout) is not None:
        console.print(f"paused by hand; to resume: {pause.how_to_resume()}", highlight=False)
    if now := _now(night, live):
        console.print(now, highlight=False, markup=False)
    if console.width < WIDE:
        for x in night.experiments.values():
            console.print(_lines(x, night.task.metric))
        return
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name.format(metric=night.task.metric.name), justify="right" if name in NUMBERS else "left")
    for x in night.experiments.values():
        table.add_row(*_row(x, night.task.metric), style=_style(x))
    console.print(table)


def _live(layout: Layout) -> LiveState | None:
    """Return the state of the loop that runs the night at this moment; None where none does."""
    if not layout.live.exists():
        return None
    from autoresearch.report import live_state  # which a night that ended does without

    return live_state.running(layout)


def _now(night: Night, live: LiveState | None) -> str | None:
    """Return what the night's loop does at this moment, or in which run it was cut off; None where it ended."""
    if live is not None:
        where = f"#{live.n} {run_name(live.run)}, " if live.phase not in ("", "waiting") else ""
        return f"running: {where}{live.phase or 'starting'}: {live.title}"
    if night.running is None or night.closed is not None:
        return None
    x, run = night.running
    return f"cut off in #{x.n} {run_name(run.run)}: {x.proposal.title}; the experiment is resumed with the night"


def _style(experiment: Experiment) -> str:
    return VERDICT_STYLES.get(experiment.verdict, "") if experiment.verdict else "yellow"


def _lines(experiment: Experiment, metric: Metric) -> Text:
    """Return an experiment for a narrow terminal: its figures, and below them its words, wrapped and never cut."""
    n, verdict, value, runs, title, reason, proposer = map(str, _row(experiment, metric))
    words = " — ".join(word for word in (title, reason, proposer) if word)
    return Text(f"#{n} {verdict} {value} ({counted(int(runs), 'run')})\n{words}", _style(experiment))


def _row(experiment: Experiment, metric: Metric) -> list[str | Text]:
    proposal = experiment.proposal
    value = metric.shown(experiment.estimate) if experiment.estimate is not None else "—"
    words = (
        proposal.title,
        experiment.reason,
        proposal.proposer if experiment.role == "candidate" else experiment.role,
    )
    verdict = experiment.verdict or experiment.status
    return [str(experiment.n), verdict, value, str(analysis.run_count(experiment)), *map(Text, words)]
