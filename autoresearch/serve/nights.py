"""Read a night for many callers: its journal once for each state of the file, its live state once a change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from autoresearch.errors import JournalError, UsageError
from autoresearch.paths import Layout
from autoresearch.record import inbox, journal
from autoresearch.record.events import Refused
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Trial
from autoresearch.report import live_state
from autoresearch.report.live_state import LiveState
from autoresearch.system import process
from autoresearch.system.invocation import command

ALIVE_S = 2.0  # between two looks for the loop's process

T = TypeVar("T")
Stamp = tuple[int, int, int] | None  # of a file: inode, size, time of the last change


class NoNightError(UsageError):
    """No night has begun in this checkout."""


@dataclass(frozen=True)
class Snapshot:
    """A night as its journal was at one moment, with the results that callers computed from it."""

    layout: Layout
    night: Night
    lines: Sequence[bytes]  # of the journal, without line feeds
    shared: dict[str, Any] = field(default_factory=dict)  # what outlives a snapshot: sources by sha256, the picture
    _made: dict[str, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def id(self) -> str:
        """The place in the stream of events: "nov27:123" after 123 lines."""
        return f"{self.layout.tag}:{len(self.lines)}"

    @cached_property
    def trials(self) -> list[Trial]:
        """The history that proposers see."""
        return self.night.trials(self.source_of)

    def source_of(self, n: int) -> str:
        """Return the source of experiment n. Raises JournalError where it is gone or was changed."""
        x = self.night.experiments[n]
        if x.source_sha256 not in self.shared:
            self.shared[x.source_sha256] = journal.read_source(self.layout, x)
        source: str = self.shared[x.source_sha256]
        return source

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return the result of `make` for this night; it is called once, and its result is kept under `name`."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            found: T = self._made[name]
            return found


class NightReader:
    """Reader of the night `tag` of a checkout, or of the one that was written last. Threads may share it.

    Of several nights that run, those of a fleet's classes, it stays with the one that it found first.
    """

    def __init__(self, root: Path, tag: str | None = None) -> None:
        self.root, self.tag = root, tag
        self._lock = threading.RLock()
        self._found: Layout | None = None
        self._shared: dict[str, Any] = {}
        self._read: tuple[Layout, Stamp, Snapshot] | None = None
        self._live: tuple[Layout, Stamp, LiveState | None] | None = None
        self._looked: tuple[str, float, bool] = ("", 0.0, False)  # mark, when, whether alive

    def layout(self) -> Layout:
        """Return the night's paths. Raises NoNightError where there is none."""
        with self._lock:
            if self._found is None or self._running(self._found) is None:
                tags = journal.nights(self.root) if self.tag is None else [self.tag]
                if not tags or not Layout(self.root, tags[-1]).journal.is_file():
                    raise NoNightError(f"no night has begun here. Run: {command('loop.py')}")
                self._found = Layout(self.root, tags[-1])
            return self._found

    def stamp(self) -> tuple[Layout, Stamp]:
        """Return the journal's paths and its stamp, which changes whenever the file does. Raises NoNightError."""
        layout = self.layout()
        return layout, _stamp(layout.journal)

    def snapshot(self) -> Snapshot:
        """Return the night as the journal has it now. Raises NoNightError, and JournalError as journal.read does."""
        with self._lock:
            layout, stamp = self.stamp()
            if self._read is None or self._read[:2] != (layout, stamp):
                night = journal.read(layout)
                try:
                    lines = layout.journal.read_bytes().split(b"\n")[:-1]
                except OSError as error:  # a person removed it under a running loop
                    raise JournalError(f"cannot read {layout.journal}: {error.strerror}") from None
                self._read = layout, stamp, Snapshot(layout, night, lines, self._shared)
            return self._read[2]

    def live(self) -> LiveState | None:
        """Return the state of the loop that runs the night at this moment; None where none does."""
        return self._running(self.layout())

    def _running(self, layout: Layout) -> LiveState | None:
        with self._lock:
            stamp = _stamp(layout.live)
            if self._live is None or self._live[:2] != (layout, stamp):
                self._live = layout, stamp, live_state.published(layout)
            state = self._live[2]
            return state if state is not None and state.over is None and self._alive(state.mark) else None

    def _alive(self, mark: str) -> bool:
        known, looked, found = self._looked
        if known != mark or time.monotonic() - looked > ALIVE_S:
            found = process.alive(mark)
            self._looked = mark, time.monotonic(), found
        return found

    def hypothesis(self, id: str) -> Experiment | Refused | Hypothesis | None:
        """Return what became of a hypothesis: an experiment, a refusal, or that it waits; None where it is unknown.

        Raises EditError where its file is damaged.
        """
        taken = self.snapshot().night.of_inbox(id)
        waits = inbox.read(self.layout(), id) if taken is None else None
        return taken or waits or self.snapshot().night.of_inbox(id)  # it may have been taken up between the two looks


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
