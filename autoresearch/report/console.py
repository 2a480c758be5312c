"""Show a running night: on the full screen of a terminal, or as plain lines, and published for `loop.py watch`.

Where the terminal goes away (an ssh connection drops, a window is closed), the night continues and its lines go into a
file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from autoresearch.files import write_atomic
from autoresearch.formats import printable, run_name
from autoresearch.paths import Layout
from autoresearch.report.dashboard import draw, result_line
from autoresearch.report.live_state import LiveState, ResultRow, RunStart
from autoresearch.system import machine
from autoresearch.system.process import own_mark

REFRESH_S = 1.0  # between two drawings: a loss changes little in a second, and drawing takes power
PUBLISH_S = 0.5  # between two states for `watch`
TRANSCRIPT = 2000  # of the lines that are printed when the full screen closes, at most
GONE = (OSError, ValueError)  # what writing to a terminal that went away raises


class View(Protocol):
    """Base of the views of what the loop reports. Callers may read `state` and call its methods."""

    state: LiveState
    log: Path | None  # where lines go when the terminal has gone away

    def open(self) -> None:
        """Begin the night: a view of the whole screen takes the screen now."""
        ...

    def say(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def status(self, text: str) -> None:
        """Show what happens between two runs; it stays only in a log."""
        ...

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event of a child."""
        ...

    def begin(self, run: RunStart) -> None:
        """Show that a run begins."""
        ...

    def decided(self, result: ResultRow) -> None:
        """Show the result of an experiment."""
        ...

    def aside(self) -> AbstractContextManager[Console]:
        """Lend the terminal for something else, a question or a progress bar, until the block ends."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


def shown(text: str) -> str:
    """Return a text that a terminal only shows: what is said may quote a model's reply or a stranger's edit."""
    return printable(text, kept="\n\t")


class PlainView:
    """Log lines: one for each tenth of a training and one for each result, in `log` once the terminal is gone."""

    def __init__(self, stream: IO[str] | None = None, state: LiveState | None = None) -> None:
        self.state, self._tenth = state or LiveState(), 0
        self.log: Path | None = None
        self._stream = stream or sys.stdout

    def open(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.state.say(shown(text))
        self.put(text)

    def put(self, text: str) -> None:
        """Write a line to the stream, without adding it to the state."""
        try:
            print(shown(text), file=self._stream, flush=True)
        except GONE:
            let_go(self._stream, self.log)
            with contextlib.suppress(*GONE):
                self._stream.flush()  # what could not be written waits in its buffer

    def status(self, text: str) -> None:
        self.state.wait(text)
        self.put(f"{time.strftime('%H:%M:%S')}  {text}")

    def begin(self, run: RunStart) -> None:
        self.state.begin(run)
        self._tenth = 0
        self.put(f"{time.strftime('%H:%M:%S')}  #{run.n} {run_name(run.run)}: {run.title}")

    def hear(self, event: Mapping[str, Any]) -> None:
        state = self.state
        state.hear(event)
        if event["event"] == "step" and int(state.progress * 10) > self._tenth:
            self._tenth = int(state.progress * 10)
            speed = f"  {state.tok_s:,.0f} tok/s" if state.tok_s else ""
            self.put(f"           {state.progress:4.0%}  step {event['step']:5d}  loss {state.loss:.4f}{speed}")

    def decided(self, result: ResultRow) -> None:
        value = self.state.metric.shown(result.score) if result.score is not None else "   —    "
        self.put(f"{time.strftime('%H:%M:%S')}  #{result.n} {result.verdict.upper():7s} {value}  {result.reason}")

    @contextlib.contextmanager
    def aside(self) -> Iterator[Console]:
        yield Console(file=self._stream)

    def close(self) -> None:
        pass


class LiveView:
    """View on the whole terminal, drawn once a second by a thread of its own. When it closes, it prints what was said.

    Until it is opened, lines are printed as they come, because preparing data draws a progress bar of its own. The
    terminal's alternate screen is used, so each drawing fits the present size and nothing is left over.
    """

    def __init__(self, console: Console | None = None, refresh_s: float = REFRESH_S) -> None:
        self.state = LiveState()
        self.log: Path | None = None
        self._console = console or Console()
        self._lines: deque[Text] = deque(maxlen=TRANSCRIPT)
        self._live = Live(
            get_renderable=lambda: draw(self.state, *self._console.size),
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._plain: PlainView | None = None  # once the terminal is gone
        self._closing, self._lock = threading.Event(), threading.RLock()
        self._ticker = threading.Thread(target=self._tick, args=(refresh_s,), name="view", daemon=True)
        self._open = False

    def open(self) -> None:
        if not self._open:
            self._open = True
            self._guarded(self._live.start)
            self._ticker.start()

    def say(self, text: str) -> None:
        text = shown(text)
        self.state.say(text)
        self._keep(Text(text))

    def status(self, text: str) -> None:
        self.state.wait(text)
        if self._plain:
            self._plain.status(text)

    def begin(self, run: RunStart) -> None:
        if self._plain:
            self._plain.begin(run)
        else:
            self.state.begin(run)

    def hear(self, event: Mapping[str, Any]) -> None:
        (self._plain or self.state).hear(event)

    def decided(self, result: ResultRow) -> None:
        self._keep(result_line(result))

    @contextlib.contextmanager
    def aside(self) -> Iterator[Console]:
        with self._lock:
            if self._open:
                self._guarded(self._live.stop)
            try:
                yield self._console
            finally:
                if self._open:
                    self._guarded(self._live.start)

    def close(self) -> None:
        """Give the terminal back and print what has been said meanwhile."""
        self._closing.set()
        if not self._open:
            return
        self._open = False
        self._ticker.join()
        with self._lock:
            if self._plain is None:
                self._guarded(self._live.stop)
            lines, self._lines = list(self._lines), deque()
            for line in lines if self._plain is None else ():
                self._guarded(partial(self._console.print, line))

    def _keep(self, line: Text) -> None:
        with self._lock:
            if self._plain is not None:
                self._plain.put(line.plain)
            elif self._open:
                self._lines.append(line)
            else:
                self._guarded(partial(self._console.print, line))

    def _tick(self, refresh_s: float) -> None:
        while not self._closing.wait(refresh_s) and self._plain is None:
            self.state.memory_mb = machine.free_memory_mb()
            with self._lock:
                self._guarded(self._refresh)

    def _refresh(self) -> None:
        if not self._console.is_terminal:  # rich draws nothing then, and says nothing
            raise OSError("the terminal is gone")
        self._live.refresh()

    def _guarded(self, write: Callable[[], Any]) -> None:
        """Write to the terminal; where that is gone, write the lines so far and all later ones into the log."""
        if self._plain is not None:
            return
        try:
            write()
        except GONE:
            stream = self._console.file
            self._console.quiet = True
            let_go(stream, None)
            with contextlib.suppress(*GONE):
                stream.flush()  # the rest of a frame that the terminal did not take: it must not reach the log
            let_go(stream, self.log)
            plain = PlainView(stream, self.state)
            plain.log = self.log
            plain.put(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  the terminal went away; the night continues")
            for line in self._lines:
                plain.put(line.plain)
            self._plain = plain  # only now: `status` and `begin` write to it without the lock


def let_go(stream: IO[str], log: Path | None) -> None:
    """Redirect a terminal or pipe that nobody reads any more into `log`, or into nothing.

    Standard error is redirected, too, where it was the same terminal: an error message must not end the night either.
    """
    try:
        fd = stream.fileno()
        errors = [2] if os.path.samestat(os.fstat(fd), os.fstat(2)) else []
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except GONE:  # not a real file, or a full disk
        return
    for each in (fd, *errors):
        os.dup2(target, each)
    os.close(target)


class Published:
    """View around another one. It also writes the state for `loop.py watch`, in a run twice a second at most."""

    def __init__(self, view: View, path: Path) -> None:
        self.view, self.path, self._written = view, path, 0.0
        self.state: LiveState = view.state
        self.log: Path | None = view.log
        self.state.mark = own_mark()

    def open(self) -> None:
        self.view.open()

    def say(self, text: str) -> None:
        self.view.say(text)
        self.publish()

    def status(self, text: str) -> None:
        self.view.status(text)
        self.publish()

    def begin(self, run: RunStart) -> None:
        self.view.begin(run)
        self.publish()

    def hear(self, event: Mapping[str, Any]) -> None:
        self.view.hear(event)
        often = event["event"] in ("step", "evaluated", "probed")
        if not often or time.monotonic() - self._written > PUBLISH_S:
            self.publish()

    def decided(self, result: ResultRow) -> None:
        self.view.decided(result)
        self.publish()

    def aside(self) -> AbstractContextManager[Console]:
        return self.view.aside()

    def close(self) -> None:
        self.view.close()

    def publish(self) -> None:
        """Write the state for `watch`."""
        self._written = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk: `watch` shows nothing new, and the night continues
            write_atomic(self.path, self.state.to_json(), lasting=False)


@contextlib.contextmanager
def published(view: View, layout: Layout) -> Iterator[View]:
    """Publish a view in the night's folder until the block ends; its lines go there when its terminal is gone."""
    view.log = layout.log
    shown = Published(view, layout.live)
    try:
        shown.publish()
        yield shown
    finally:
        view.state.end("stopped")
        shown.publish()


def choose_view(stream: IO[str] | None = None) -> View:
    """Return the full screen for a terminal, or log lines where the output is a file or a pipe."""
    stream = stream or sys.stdout
    console = Console(file=stream)
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(stream)
