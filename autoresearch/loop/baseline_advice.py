"""Say what a person can do where the baseline does not run."""

from __future__ import annotations

import re
from pathlib import Path

from autoresearch.paths import EDITABLE, Layout
from autoresearch.record.branch import Branch
from autoresearch.record.night import Experiment
from autoresearch.records import Failure
from autoresearch.system import load
from autoresearch.system.invocation import command

FRAME = re.compile(r'^\s*File "([^"]+)", line \d+', re.MULTILINE)  # of a traceback


def advice(x: Experiment, failure: Failure, main: str, layout: Layout, branch: Branch) -> str:
    """Return what failed in a baseline, how to mend it, and where its log is; `main` is the task's main file."""
    mend = f"Fix {main}, commit it, and start again"
    if layout.declared:
        mend = f"Mend that, commit it, and start again. What else may be in the way: {command('loop.py doctor')}"
    if failure.kind in ("slow", "overrun"):
        mend = "Begin a night with more time for a run: " + command("loop.py --tag NAME --time-budget S")
        if (now := load.look()).busy:
            mend = f"The machine is busy: {now.describe()}. Start again when it is quiet. Or: {mend}"
    if (file := _faulty_harness(failure.detail, layout, branch)) is not None:
        again = f"git checkout -- {file} && rm -r {layout.harness}"
        mend = f"The error is in {file}, which measures every candidate. Put it back: {again}; and start again"
    detail = f"\n{failure.detail}" if failure.detail else ""
    log = layout.run(x.n, x.next_run - 1)
    return f"the baseline does not run ({failure.kind}): {failure.message}{detail}\nThe log is in {log}. {mend}"


def _faulty_harness(detail: str, layout: Layout, branch: Branch) -> str | None:
    """Return the harness's file in which a traceback ends, where no candidate is in it or the file was changed."""
    frames, harness = FRAME.findall(detail), layout.harness.resolve()
    if not frames or not (last := Path(frames[-1])).is_relative_to(harness):
        return None
    file = last.relative_to(harness).as_posix()
    changed = last.is_file() and last.read_bytes() != branch.read(file)
    return file if changed or EDITABLE not in frames else None
