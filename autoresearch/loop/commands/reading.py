"""Look at a night, or pause and resume the running one: `status`, `watch`, `show`, `serve`, `pause`, `resume`.

What only one of them needs is imported there, so that `status` answers at once.
"""

from __future__ import annotations

import difflib
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from autoresearch.candidate.pack import readable
from autoresearch.errors import UsageError
from autoresearch.formats import counted, run_name
from autoresearch.metrics import Metric
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.report import status as summary


def status(root: Path, args: Namespace) -> int:
    """Print the night so far."""
    if args.json:
        from autoresearch.report import live_state
        from autoresearch.report.summary_json import night_json

        layout = Layout(root, summary.find_tag(root, args.tag))
        _print(night_json(journal.read(layout), running=live_state.running(layout) is not None))
    else:
        summary.status(root, args.tag)
    return 0


def watch(root: Path, args: Namespace) -> int:
    """Show the running night until it ends."""
    from autoresearch.report import watch as live

    return live.watch(root, args.tag)


def pause(root: Path, args: Namespace) -> int:
    """Ask the running loop to wait between two runs."""
    from autoresearch.report import watch as live

    live.pause_command(root, args.tag)
    return 0


def resume(root: Path, args: Namespace) -> int:
    """End a pause."""
    from autoresearch.report import watch as live

    live.resume_command(root, args.tag)
    return 0


def show(root: Path, args: Namespace) -> int:
    """Print one experiment: its hypothesis, runs, diff and failure, and where its logs are."""
    layout = Layout(root, summary.find_tag(root, args.tag))
    night = journal.read(layout)
    x = night.experiments.get(args.n)
    if x is None:
        raise UsageError(f"{night.tag} has no experiment {args.n}; it has 0 to {night.next_n - 1}")
    if args.json:
        from autoresearch.report.summary_json import experiment_json

        _print(experiment_json(x))
        return 0
    print(f"#{x.n} {x.proposal.title}\n{x.proposal.hypothesis}\n{x.verdict or x.status}: {x.reason}")
    print(f"proposer: {x.proposal.proposer}, category: {x.proposal.category}, commit: {x.commit or '—'} {x.ref or ''}")
    for run in x.runs.values():
        print(_line(run, night.task.metric))
    if x.parent_n is not None:
        print(_diff(layout, night, x, night.experiments[x.parent_n]))
    if x.failure is not None and x.failure.detail:
        print(x.failure.detail.rstrip())
    print(f"logs: {layout.experiment(x.n)}")
    return 0


def serve(root: Path, args: Namespace) -> int:
    """Serve the page and the REST interface until Ctrl-C."""
    from autoresearch.serve import command

    return command.serve(root, args)


def _print(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def _line(run: RunRecord, metric: Metric) -> str:
    """Return a run in a line: "  run 1 (search, seed 7000): val_bpb 1.234567, 82,000 tok/s, 751 steps"."""
    m = run.measurement
    ended = "stopped early" if m and m.stopped else run.ended or "running"
    value = metric.text(m.score) if m and m.score is not None else ended
    speed = f", {m.tok_s:,.0f} tok/s, {counted(m.num_steps or 0, 'step')}" if m and m.tok_s else ""
    failed = f", {m.failure.kind}: {m.failure.message}" if m and m.failure else ""
    return f"  {run_name(run.run)} ({run.purpose}, seed {run.seed}): {value}{speed}{failed}"


def _diff(layout: Layout, night: Night, x: Experiment, parent: Experiment) -> str:
    old, new = (readable(journal.read_source(layout, each)).splitlines() for each in (parent, x))
    return "\n".join(difflib.unified_diff(old, new, f"#{parent.n}", f"#{x.n}", lineterm=""))
