"""The night in a few lines of text: for `status`, and for the end of a session. Pure, from the journal's Night."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch.decide import early_stop, estimates, validation
from autoresearch.errors import UsageError
from autoresearch.record import journal, pause
from autoresearch.record.git import Repository, tag_of
from autoresearch.record.journal import NAME
from autoresearch.record.night import Experiment, Night
from autoresearch.report.dashboard import STYLES


def text(night: Night) -> str:
    """Counts, gain and the next commands.

    text(night) -> "nov23: 12 experiments (3 keep, 8 discard, 1 crash) in 0:09 h\\nval_bpb 2.4012 -> 2.2671 ..."
    """
    candidates = [x for x in night.decided if x.role == "candidate"]
    counts = ", ".join(f"{sum(x.verdict == v for x in candidates)} {v}" for v in ("keep", "discard", "crash"))
    hours, minutes = divmod(int(night.elapsed_s) // 60, 60)
    lines = [f"{night.tag}: {len(candidates)} experiments ({counts}) in {hours}:{minutes:02d} h"]
    baseline = validation.baseline_of(night)
    if baseline is not None and night.incumbent is not None:
        now = estimates.read(night)
        first, last = now.estimate(baseline).mean, now.estimate(night.incumbent).mean
        lines.append(
            f"val_bpb {first:.6f} -> {last:.6f} ({(first - last) / now.noise.sigma_bpb:+.1f} sigma of one run, "
            f"sigma {now.noise.sigma_bpb:.4f}); the search's own figure, which is optimistic"
        )
    fit = estimates.read(night).fit
    lines += [line for line in (str(fit) if fit else None, early_stop.text(night), validation.text(night)) if line]
    lines.append(f"go on: uv run loop.py --tag {night.tag}    the kept changes: git log autoresearch/{night.tag}")
    return "\n".join(lines)


def find_tag(root: Path, tag: str | None) -> str:
    """The night meant: the one named, else this branch's, else the one written last. Raises UsageError."""
    if tag is not None:
        if not (root / "runs" / tag / NAME).is_file():
            raise UsageError(f"there is no night {tag} in {root / 'runs'}. See: ls runs")
        return tag
    current = tag_of(Repository(root).branch())
    if current and (root / "runs" / current / NAME).is_file():
        return current
    nights = sorted((root / "runs").glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime)
    if not nights:
        raise UsageError("no night has begun here. Run: uv run loop.py")
    return nights[-1].parent.name


def status(root: Path, tag: str | None, console: Console | None = None) -> None:
    """Prints the night so far: the summary, what is running, and a table of its experiments."""
    console = console or Console()
    folder = root / "runs" / find_tag(root, tag)
    night = journal.read(folder)
    console.print(text(night), highlight=False)
    if pause.asked(folder) is not None:
        console.print(f"paused by hand; to go on: {pause.GO_ON}", highlight=False)
    if night.running is not None and night.closed is None:
        x, run = night.running
        console.print(f"running, or cut off: #{x.n} run {run.run}: {x.proposal.title}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for name in ("#", "verdict", "val_bpb", "runs", "title", "reason", "proposer"):
        table.add_column(name, justify="right" if name in ("#", "val_bpb", "runs") else "left")
    for x in night.experiments.values():
        table.add_row(*_row(x), style=STYLES.get(x.verdict, "") if x.verdict else "yellow")
    console.print(table)


def _row(x: Experiment) -> list[str | Text]:
    value = f"{x.estimate:.6f}" if x.estimate is not None else "—"
    who = x.proposal.proposer if x.role == "candidate" else x.role
    return [str(x.n), x.verdict or x.status, value, str(len(x.bpbs)), Text(x.proposal.title), Text(x.reason), Text(who)]
