"""Read nights of other programs of this family for comparison: results.tsv and the git history beside it.

Such a file holds one run of each experiment. There is no sigma and no interval, and whatever it kept may be noise, so
its nights are marked as imported. A file may hold several nights or machines: each baseline begins another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from autoresearch import texts
from autoresearch.errors import BundleError, GitError
from autoresearch.findings.bundle import Bundle, sha256
from autoresearch.findings.export import change
from autoresearch.findings.finding import Effect, Finding, SharedMachine, SharedRun, SharedTask, SharedVerdict
from autoresearch.formats import CONTROL
from autoresearch.record import gitcall

FILES = ("train_mlx.py", "train.py")  # the editable file, under its names in other programs
STATUS: Mapping[str, SharedVerdict] = {"keep": "keep", "baseline": "keep", "discard": "discard", "crash": "crash"}
MOST_TABLE_BYTES = 4 << 20
COMMIT = re.compile(r"[0-9a-f]{7,40}")
# A partial clone fetches what it lacks, by programs that its own configuration names.
FETCHES_NOTHING = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
METHOD = "one run each, no replicates: may be noise"


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One line of results.tsv, with the time and the source of its commit where git has them."""

    commit: str
    score: float | None
    memory_gb: float | None
    status: str
    description: str
    time: float | None = None  # POSIX seconds of the commit
    source: str | None = None

    @property
    def begins(self) -> bool:
        """Whether the line is the baseline of another night or machine."""
        return STATUS.get(self.status) == "keep" and re.search(r"\bbaseline\b", self.description, re.I) is not None


def read(path: Path) -> list[Bundle]:
    """Return the nights of a results.tsv, or of a repository that holds one. Raises BundleError."""
    table = path / "results.tsv" if path.is_dir() else path
    try:
        if table.stat().st_size > MOST_TABLE_BYTES:
            raise BundleError(f"{table}: refused: more than {MOST_TABLE_BYTES >> 20} MB")
        text = texts.decode(table.read_bytes())
        written = datetime.fromtimestamp(table.stat().st_mtime, UTC).date().isoformat()
    except OSError as error:
        raise BundleError(f"cannot read {table}: {error.strerror or error}") from None
    entries = [_with_history(table.parent, entry) for entry in parse(text)]
    if not entries:
        raise BundleError(f"{table} has no results: a header with val_bpb and status, and lines below it, are expected")
    name = _line(table.absolute().parent.name)
    return [_bundle(name, night, written) for night in _nights(entries)]


def parse(text: str) -> list[ResultLine]:
    """Return the lines that have the columns of the header; notes and other tables are skipped.

    parse("commit\\tval_bpb\\tmemory_gb\\tstatus\\tdescription\\n383abb4\\t2.667\\t26.9\\tkeep\\tbaseline\\n")
    -> [ResultLine("383abb4", 2.667, 26.9, "keep", "baseline")]
    """
    lines = text.split("\n")
    names = [name.strip() for name in lines[0].split("\t")]
    if not {"val_bpb", "status"} <= set(names):
        return []
    entries = []
    for line in lines[1:]:
        cells = dict(zip(names, line.split("\t", len(names) - 1), strict=False))
        value, status = _number(cells.get("val_bpb")), cells.get("status", "").strip()
        stopped = status == "discard" and not cells["val_bpb"].strip()  # stopped early, without a value
        if len(cells) == len(names) and (value is not None or stopped):
            bpb = None if value == 0.0 or status == "crash" else value
            memory = _number(cells.get("memory_gb")) or None
            commit, description = cells.get("commit", "").strip(), _line(cells.get("description", ""))
            entries.append(ResultLine(commit, bpb, memory, status, description))
    return entries


def _nights(entries: Sequence[ResultLine]) -> Iterator[list[ResultLine]]:
    """Yield the lines of one night after another."""
    night: list[ResultLine] = []
    for entry in entries:
        if entry.begins and night:
            yield night
            night = []
        night.append(entry)
    yield night


def _bundle(name: str, entries: Sequence[ResultLine], written: str) -> Bundle:
    findings = list(_findings(entries))
    started = entries[0].time
    times = [entry.time for entry in entries if entry.time is not None]
    return Bundle(
        kind="imported",
        created=datetime.fromtimestamp(started, UTC).date().isoformat() if started else written,
        machine=SharedMachine(chip=f"{name}: {entries[0].description or 'unknown machine'}"[:120]),
        task=SharedTask(),
        findings=tuple(findings),
        sources={sha256(e.source): e.source for e in entries if e.source is not None},
        best=next((f.n for f in reversed(findings) if f.verdict == "keep"), None),
        hours=(max(times) - min(times)) / 3600 if len(times) > 1 else None,
    )


def _findings(entries: Sequence[ResultLine]) -> Iterator[Finding]:
    """Yield a finding a line: the first is the baseline, each later one is measured against the last keep."""
    best: tuple[int, ResultLine] | None = None
    for n, entry in enumerate(entries):
        measured = entry.score is not None or entry.status == "discard"
        verdict = STATUS.get(entry.status, "discard") if measured else "crash"
        parent = best[1] if best else None
        known = parent is not None and parent.source is not None and entry.source is not None
        yield Finding(
            n=n,
            role="candidate" if best else "baseline",
            verdict=verdict,
            title=entry.description or entry.commit or f"line {n + 1}",
            reason=f"status {entry.status!a}"[:300],
            parent=best[0] if best else None,
            source=sha256(entry.source) if entry.source is not None else None,
            change=change(parent.source or "", entry.source or "") if parent and known else None,
            effect=_effect(parent, entry),
            score=entry.score,
            hour=_hour(entries[0], entry),
            runs=(_run(entry),),
        )
        if verdict == "keep":
            best = n, entry


def _effect(parent: ResultLine | None, entry: ResultLine) -> Effect | None:
    if parent is None or parent.score is None or entry.score is None:
        return None
    return Effect(parent.score - entry.score, method=METHOD)


def _run(entry: ResultLine) -> SharedRun:
    memory_mb = entry.memory_gb * 1024 if entry.memory_gb else None
    failure = "crash" if entry.score is None else None
    return SharedRun("search", entry.score, peak_memory_mb=memory_mb, failure=failure)


def _hour(first: ResultLine, entry: ResultLine) -> float | None:
    if first.time is None or entry.time is None or entry.time < first.time:
        return None
    return (entry.time - first.time) / 3600


# --- git --------------------------------------------------------------------------------------------------------------


def _with_history(folder: Path, entry: ResultLine) -> ResultLine:
    """Return the entry with its commit's time and source. A commit that was reset away may still be in git."""
    if not COMMIT.fullmatch(entry.commit):
        return entry
    committed = _git(folder, "show", "--no-patch", "--no-show-signature", "--format=%ct", entry.commit).strip()
    if not committed.isdecimal():
        return entry
    sources = (_git(folder, "cat-file", "blob", f"{entry.commit}:./{name}") for name in FILES)
    source = next((CONTROL.sub(" ", source) for source in sources if 0 < len(source) < 1_000_000), None)
    return replace(entry, time=float(committed), source=source)


def _git(folder: Path, *args: str) -> str:
    """Return what git prints; nothing where there is no git, no repository, or no such commit."""
    try:
        return gitcall.call(folder, args, env=FETCHES_NOTHING, check=False).stdout
    except GitError:
        return ""


def _number(text: str | None) -> float | None:
    """Return a figure of the table; None for an empty cell, and for what no figure of a night can be."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e6 else None


def _line(text: str) -> str:
    return " ".join(CONTROL.sub(" ", text).split())[:200]
