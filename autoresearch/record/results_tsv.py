"""Render results.tsv, the table that people and outside agents know, from the journal. It is never read for decisions.

The file holds the rows of all tags, and only this night's may change. They are recognised by their content: a row is a
function of a decided experiment and its commit, so every line that this journal can have produced is replaced, and
every other byte of the file is copied through.

    commit   val_bpb   memory_gb  status   description
    a1b2c3d  1.540312  4.1        keep     halve the batch to 32768 tokens
    b2c3d4e  0.000000  0.0        crash    double the width (memory)

The table of a declared task has the task's metric instead of val_bpb, and who says it instead of the memory.
"""

from __future__ import annotations

import re
from pathlib import Path

from autoresearch.errors import JournalError
from autoresearch.files import write_atomic
from autoresearch.formats import CONTROL
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record.night import Experiment, Night

COLUMNS = "commit", "val_bpb", "memory_gb", "status", "description"  # of training
DESCRIPTION_LENGTH = 200  # characters at most


def update(path: Path, night: Night, old: bytes) -> bytes:
    """Write `old` with this night's present rows to `path`, unless it holds that already, and return the bytes.

    Raises JournalError where the file cannot be read or written.
    """
    new = render(night, old)
    try:
        if not path.exists() or path.read_bytes() != new:
            write_atomic(path, new)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error}") from None
    return new


def render(night: Night, old: bytes) -> bytes:
    """Return `old` with this night's rows replaced by the present ones, at the place of the first or at the end."""
    experiments = [e for e in night.experiments.values() if e.verdict or e.status == "quarantined"]
    metric = night.task.metric
    ours = {row(e, commit, metric) for e in experiments for commit in _commits(e)}
    lines = re.findall(rb"[^\n]*\n|[^\n]+", old)  # not splitlines(): a carriage return may be content
    first = next((i for i, line in enumerate(lines) if _ended(line) in ours), len(lines))
    before = b"".join(lines[:first]) or header(metric)
    after = [line for line in lines[first:] if _ended(line) not in ours]
    rows = [row(e, _commits(e)[0], metric) for e in experiments]
    return b"".join([_ended(before) if rows else before, *rows, *after])


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def header(metric: Metric = VAL_BPB) -> bytes:
    """Return the first line of the table."""
    columns = COLUMNS if metric == VAL_BPB else ("commit", metric.name, "trust", "status", "description")
    return "\t".join(columns).encode() + b"\n"


def row(experiment: Experiment, commit: str, metric: Metric = VAL_BPB) -> bytes:
    """Return one line: commit, val_bpb, memory_gb, status, description.

    A crash of training has 0.000000 and 0.0, because the format asks for it; any other absent value is an empty column.
    """
    status = experiment.verdict or "crash"
    training = metric == VAL_BPB
    if status == "crash":
        value, beside = ("0.000000", "0.0") if training else ("", metric.trust)
    else:
        value, beside = _value(experiment, metric), _memory_gb(experiment) if training else metric.trust
    return "\t".join([commit[:7], value, beside, status, _description(experiment)]).encode("utf-8", "replace") + b"\n"


def _commits(experiment: Experiment) -> list[str]:
    """Return what the first column may hold, the best first.

    That is the commit, for a baseline its parent (it needs no commit of its own), and the blob until git has either.
    """
    parent = experiment.parent_commit if experiment.role == "baseline" else None
    return [name for name in (experiment.commit, parent, experiment.blob) if name] or [""]


def _value(experiment: Experiment, metric: Metric) -> str:
    score = experiment.estimate if experiment.estimate is not None else next(iter(experiment.scores), None)
    return "" if score is None or (metric == VAL_BPB and score < 5e-7) else metric.number(score).replace(",", "")


def _memory_gb(experiment: Experiment) -> str:
    peaks = [m.peak_memory_mb for m in experiment.measurements if m.peak_memory_mb is not None]
    return f"{max(peaks) / 1024:.1f}" if peaks else ""


def _description(experiment: Experiment) -> str:
    title = experiment.proposal.title
    if experiment.status == "quarantined":
        title += f" (quarantined: {experiment.reason})"
    elif experiment.verdict == "crash" and experiment.failure:
        title += f" ({experiment.failure.kind})"
    return " ".join(CONTROL.sub(" ", title).split())[:DESCRIPTION_LENGTH].rstrip()
