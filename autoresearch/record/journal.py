"""Append events to runs/TAG/journal.jsonl, read it back, and keep the candidates' sources beside it.

The journal is written ahead: an event is on the disk before the loop does what it announces, or relies on it. So a kill
or a power cut at any moment loses at most the run in progress. events.py defines the events and replay.py what they
mean; an event that contradicts the night is refused before it is written.

    runs/TAG/journal.jsonl             one JSON object a line
    runs/TAG/journal.torn-N            the bytes of a last line that a kill or a power cut tore off
    runs/TAG/NNNN/train_mlx.py         the source of experiment NNNN
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from autoresearch.errors import JournalError
from autoresearch.files import sync, sync_folder, write_atomic
from autoresearch.paths import EDITABLE, JOURNAL, Layout, runs_folder
from autoresearch.record.branch import is_tag
from autoresearch.record.codec import VERSION, decode, decode_all, encode, mend, seal
from autoresearch.record.events import Event
from autoresearch.record.night import Experiment, Night
from autoresearch.record.replay import apply


def nights(root: Path) -> list[str]:
    """Return the tags of the nights of a checkout, the one that was written last at the end.

    A folder whose name is no tag, such as a copy "nov23 copy", is no night.
    """
    found = sorted(runs_folder(root).glob(f"*/{JOURNAL}"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in found if is_tag(path.parent.name)]


def read(layout: Layout) -> Night:
    """Return the night recorded in runs/TAG, which another process may be writing; an empty one where there is none.

    Raises JournalError as `Journal` does.
    """
    return _load(layout.journal)[0]


class Journal:
    """The journal of runs/TAG, open for appending. The caller holds the checkout's lock, so it is the only writer.

    with Journal(Layout(root, "nov23")) as journal:
        journal.append("note", text="it rains")
    """

    def __init__(self, layout: Layout, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        """Open the journal, or begin one. A torn last line is moved to journal.torn-N.

        `now` returns the time with its offset. Raises JournalError where the file cannot be read or written, is damaged
        before its last line, or has another version; then it stays untouched.
        """
        self.layout, self._now = layout, now
        self._sources: dict[tuple[int, str], str] = {}  # by experiment and sha256
        folder, path = layout.folder, layout.journal
        night, data, torn = _load(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if torn:
                _save_torn(folder, torn)
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            whole = data.removesuffix(torn)
            self._recorded = night, len(whole), whole.rstrip(b"\n").rpartition(b"\n")[2]
            os.ftruncate(self._fd, self._recorded[1])
            sync_folder(folder)
            sync_folder(folder.parent)
            if data and not torn and not data.endswith(b"\n"):
                self._write(b"\n", night, self._recorded[2])
        except OSError as error:
            raise JournalError(f"cannot write the journal {path}: {error}") from None

    @property
    def night(self) -> Night:
        """The night as the file records it."""
        return self._recorded[0]

    def append(self, type: str, **fields: Any) -> Event:
        """Record an event of a type of events.py: append("note", text="it rains").

        The event is on the disk when this returns, and nothing of it is when this raises. Values may be records
        (Proposal, Measurement) or plain data. Raises JournalError where a field is missing or has another type, where
        the event contradicts the night, and where the disk is full.
        """
        line = encode({"v": VERSION, "t": self._now().isoformat(timespec="milliseconds"), "type": type, **fields})
        line = seal(line, self._recorded[2])
        event = decode(line)
        assert event is not None
        night = apply(self.night, event)
        try:
            self._write(line, night, line.rstrip(b"\n"))
        except OSError as error:
            free = os.statvfs(self.layout.folder)
            mb = free.f_bavail * free.f_frsize // 2**20
            why = f"cannot record `{type}` in {self.layout.journal}: {error} ({mb} MB are free)"
            raise JournalError(f"{why}. Nothing was lost: make room and start again") from None
        return event

    def store_source(self, n: int, source: str) -> str:
        """Put the source of experiment n on the disk, before it is `proposed`, and return its sha256."""
        sha256 = store_source(self.layout, n, source)
        self._sources[n, sha256] = source
        return sha256

    def source_of(self, n: int) -> str:
        """Return the source of experiment n; it is read and verified once. Raises JournalError as read_source does."""
        x = self.night.experiments[n]
        key = n, x.source_sha256
        if key not in self._sources:
            self._sources[key] = read_source(self.layout, x)
        return self._sources[key]

    def _write(self, line: bytes, night: Night, last: bytes) -> None:
        """Write a line behind the recorded part of the file; `night` and its `last` line are recorded with it.

        All three change in one assignment, since Ctrl-C may come anywhere: a line that was written before it, but not
        recorded, is cut off by the next write.
        """
        size, path = self._recorded[1], self.layout.journal
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(self._fd)):
            raise JournalError(f"{path} was deleted or replaced while the night ran; its commits are in git")
        os.ftruncate(self._fd, size)
        try:
            written = os.write(self._fd, line)
            if written < len(line):  # the disk filled up: writing the rest raises the error
                os.write(self._fd, line[written:])
            sync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise
        self._recorded = night, size + len(line), last

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(path: Path) -> tuple[Night, bytes, bytes]:
    """Return the night, all bytes of the file, and those of a torn last line."""
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JournalError(f"cannot read the journal {path}: {error}") from None
    try:
        events, torn = decode_all(data)
        return _replay(events), data, torn
    except JournalError as error:
        raise JournalError(f"{path}: {error}") from None


def _replay(events: list[Event]) -> Night:
    night = Night()
    for number, event in enumerate(events, start=1):
        try:
            night = apply(night, event)
        except JournalError as error:
            raise JournalError(f"line {number}: {error}. {mend(number)}") from None
    return night


def _save_torn(folder: Path, torn: bytes) -> None:
    number = 1
    while (side := folder / f"journal.torn-{number}").exists():
        number += 1
    write_atomic(side, torn)


# --- sources --------------------------------------------------------------------------------------------------------


def store_source(layout: Layout, n: int, source: str) -> str:
    """Put the source of experiment n on the disk, before it is `proposed`, and return its sha256.

    Raises JournalError where it cannot be written.
    """
    data = source.encode()
    try:
        write_atomic(layout.source(n), data)
    except OSError as error:
        raise JournalError(f"cannot store the source of experiment {n}: {error}") from None
    return hashlib.sha256(data).hexdigest()


def read_source(layout: Layout, experiment: Experiment) -> str:
    """Return the source of an experiment as it was proposed. Raises JournalError where it is gone or was changed."""
    path = layout.source(experiment.n)
    help = f"Bring it back: git show {experiment.ref or 'REF'}:{EDITABLE} > {path}"
    if layout.declared:
        help = f"Its files are in git: git show {experiment.ref or 'REF'}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"the source of experiment {experiment.n} is gone: {error}. {help}") from None
    if hashlib.sha256(data).hexdigest() != experiment.source_sha256:
        raise JournalError(f"the source of experiment {experiment.n} was changed after it was proposed. {help}")
    return data.decode()
