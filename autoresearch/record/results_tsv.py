"""results.tsv, the view of the night that people and outside agents know: rendered from the journal, never read back.

The file holds the rows of every tag. Ours are known by their content: a row is a function of a decided experiment and
of the commit that git gave it, so each line that this journal can have produced is replaced, and every other byte of
the file is copied through.
"""

from __future__ import annotations

import re
from pathlib import Path

from autoresearch.errors import JournalError
from autoresearch.files import write_atomic
from autoresearch.record.night import Experiment, Night

HEADER = b"commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
DESCRIPTION_LENGTH = 200
UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def update(path: Path, night: Night) -> bytes:
    """Bring results.tsv up to date; its bytes. Writes nothing where nothing changes. Raises JournalError."""
    try:
        old = path.read_bytes() if path.exists() else b""
        new = render(night, old)
        if new != old:
            write_atomic(path, new)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error}") from None
    return new


def render(night: Night, old: bytes) -> bytes:
    """`old` with this night's rows replaced by the present ones, where the first of them stood or at the end."""
    experiments = [e for e in night.experiments.values() if e.verdict or e.status == "quarantined"]
    ours = {row(e, commit) for e in experiments for commit in _names(e)}
    lines = re.findall(rb"[^\n]*\n|[^\n]+", old)  # a carriage return is somebody's content
    first = next((i for i, line in enumerate(lines) if _ended(line) in ours), len(lines))
    before = b"".join(lines[:first]) or HEADER
    after = [line for line in lines[first:] if _ended(line) not in ours]
    rows = [row(e, _names(e)[0]) for e in experiments]
    return b"".join([_ended(before) if rows else before, *rows, *after])


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def row(experiment: Experiment, commit: str) -> bytes:
    """One line: commit, val_bpb, memory_gb, status, description.

    A crash has 0.000000 and 0.0, as the format asks; elsewhere what is absent is empty.
    """
    status = experiment.verdict or "crash"
    if status == "crash":
        bpb, gb = "0.000000", "0.0"
    else:
        bpb, gb = _bpb(experiment), _memory_gb(experiment)
    return "\t".join([commit[:7], bpb, gb, status, _description(experiment)]).encode("utf-8", "replace") + b"\n"


def _names(experiment: Experiment) -> list[str]:
    """What the first column may say, best first: the commit; a baseline's is its parent; the blob till it is known."""
    parent = experiment.parent_commit if experiment.role == "baseline" else None
    return [name for name in (experiment.commit, parent, experiment.blob) if name] or [""]


def _bpb(experiment: Experiment) -> str:
    bpb = experiment.estimate if experiment.estimate is not None else next(iter(experiment.bpbs), None)
    return "" if bpb is None or bpb < 5e-7 else f"{bpb:.6f}"


def _memory_gb(experiment: Experiment) -> str:
    peaks = [m.peak_memory_mb for m in experiment.measurements if m.peak_memory_mb is not None]
    return f"{max(peaks) / 1024:.1f}" if peaks else ""


def _description(experiment: Experiment) -> str:
    title = experiment.proposal.title
    if experiment.status == "quarantined":
        title += f" (quarantined: {experiment.reason})"
    elif experiment.verdict == "crash" and experiment.failure:
        title += f" ({experiment.failure.kind})"
    return UNPRINTABLE.sub(" ", title).strip()[:DESCRIPTION_LENGTH].rstrip()
