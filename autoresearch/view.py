"""What a person sees while the loop runs: a live panel in a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoresearch.records import Verdict

SPARKS = "▁▂▃▄▅▆▇█"
STYLES: Mapping[Verdict, str] = {"keep": "bold green", "discard": "dim", "crash": "red"}


@dataclass(frozen=True)
class Result:
    """One decided experiment, as a line of the view."""

    n: int
    verdict: Verdict
    val_bpb: float | None
    title: str
    reason: str
    proposer: str


@dataclass
class Board:
    """All that the view shows; the loop writes here, the view draws it."""

    tag: str = ""
    title: str = "starting"
    hypothesis: str = ""
    n: int = 0
    run: int = 0
    phase: str = ""
    budget_s: float = 0.0
    progress: float = 0.0
    loss: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    incumbent_curve: tuple[tuple[float, float], ...] = ()
    tok_s: float | None = None
    baseline_bpb: float | None = None
    incumbent_bpb: float | None = None
    incumbent_title: str = ""
    sigma_bpb: float | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"keep": 0, "discard": 0, "crash": 0})
    results: deque[Result] = field(default_factory=lambda: deque(maxlen=8))
    machine: str = ""
    ends: str = "runs until Ctrl-C"
    started: float = field(default_factory=time.monotonic)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Takes in one event of a child."""
        name = event["event"]
        if name == "step":
            self.phase, self.progress, self.loss = "training", event["progress"], event["loss"]
            self.curve.append((event["progress"], event["loss"]))
            self.tok_s = event["tokens"] / (event["progress"] * self.budget_s) if event["progress"] else None
        elif name == "evaluated":
            self.phase, self.progress = "evaluating", event["rows"] / event["of"]
        elif name in PHASES:
            self.phase, self.progress = PHASES[name], 0.0

    def begin(self, n: int, run: int, title: str, hypothesis: str) -> None:
        self.n, self.run, self.title, self.hypothesis = n, run, title, hypothesis
        self.phase, self.progress, self.loss, self.curve, self.tok_s = "starting", 0.0, None, [], None

    def decided(self, result: Result) -> None:
        self.counts[result.verdict] += 1
        self.results.append(result)


PHASES = {"ready": "warming up", "clock_started": "training", "trained": "saving", "saved": "evaluating"}


class View(Protocol):
    board: Board

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def status(self, text: str) -> None:
        """What happens between two runs; it stays only in a log."""
        ...

    def hear(self, event: Mapping[str, Any]) -> None: ...

    def begin(self, n: int, run: int, title: str, hypothesis: str) -> None: ...

    def decided(self, result: Result) -> None: ...

    def aside(self) -> AbstractContextManager[Console]:
        """The terminal for something else, a question or a progress bar, until it is left."""
        ...

    def close(self) -> None: ...


class PlainView:
    """Log lines: one a tenth of a training, one a result. Goes on silently when the terminal has gone away."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.board, self._tenth = Board(), 0
        self._stream: TextIO | None = stream or sys.stdout

    def say(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            print(text, file=self._stream, flush=True)
        except (OSError, ValueError):  # the terminal or pipe is gone; the night goes on
            self._stream = None

    def status(self, text: str) -> None:
        self.say(f"{time.strftime('%H:%M:%S')}  {text}")

    def begin(self, n: int, run: int, title: str, hypothesis: str) -> None:
        self.board.begin(n, run, title, hypothesis)
        self._tenth = 0
        self.say(f"{time.strftime('%H:%M:%S')}  #{n} run {run}: {title}")

    def hear(self, event: Mapping[str, Any]) -> None:
        board = self.board
        board.hear(event)
        if event["event"] == "step" and int(board.progress * 10) > self._tenth:
            self._tenth = int(board.progress * 10)
            speed = f"  {board.tok_s:,.0f} tok/s" if board.tok_s else ""
            self.say(f"           {board.progress:4.0%}  step {event['step']:5d}  loss {board.loss:.4f}{speed}")

    def decided(self, result: Result) -> None:
        self.board.decided(result)
        value = f"{result.val_bpb:.6f}" if result.val_bpb is not None else "   —    "
        self.say(f"{time.strftime('%H:%M:%S')}  #{result.n} {result.verdict.upper():7s} {value}  {result.reason}")

    @contextlib.contextmanager
    def aside(self) -> Iterator[Console]:
        yield Console(file=self._stream)

    def close(self) -> None:
        pass


class LiveView:
    """A panel that redraws itself twice a second below the lines that stay."""

    def __init__(self, console: Console | None = None) -> None:
        self.board = Board()
        self._console = console or Console()
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=2, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        self._print(Text(text))

    def _print(self, text: Text) -> None:
        try:
            self._console.print(text)
        except (OSError, ValueError):  # the terminal is gone; the night goes on
            self._console.quiet = True

    def status(self, text: str) -> None:
        self.board.begin(self.board.n, self.board.run, text, "")
        self.board.phase = "waiting"

    def begin(self, n: int, run: int, title: str, hypothesis: str) -> None:
        self.board.begin(n, run, title, hypothesis)

    def hear(self, event: Mapping[str, Any]) -> None:
        self.board.hear(event)

    def decided(self, result: Result) -> None:
        self.board.decided(result)
        self._print(result_line(result))

    @contextlib.contextmanager
    def aside(self) -> Iterator[Console]:
        self._live.stop()
        try:
            yield self._console
        finally:
            self._live.start()

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()

    def _draw(self) -> Panel:
        return draw(self.board, self._console.width)


def result_line(result: Result) -> Text:
    value = f"{result.val_bpb:.6f}" if result.val_bpb is not None else "   —    "
    line = Text(f"#{result.n:<3d} {result.verdict:7s} {value}  {result.title}", style=STYLES[result.verdict])
    return line.append(f"  {result.reason}", style="dim")


def sparkline(values: list[float], width: int) -> str:
    """`sparkline([3.0, 2.0, 1.0], 3) -> "█▄▁"`: the last value of each of `width` slices, scaled to the extremes."""
    if not values:
        return ""
    width = min(width, len(values))
    points = [values[(i + 1) * len(values) // width - 1] for i in range(width)]
    low, high = min(points), max(points)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[int((p - low) * scale)] for p in points)


def draw(board: Board, width: int) -> Panel:
    """The live panel: this experiment, the incumbent, the machine, the clock."""
    left = max(0.0, (1 - board.progress) * board.budget_s) if board.phase == "training" else None
    now = Table.grid(padding=(0, 2))
    now.add_row(Text(f"#{board.n} run {board.run}", style="bold"), Text(board.title, style="bold"))
    if board.hypothesis:
        now.add_row("", Text(board.hypothesis, style="italic"))
    status = Text(board.phase)
    status.append(f"  loss {board.loss:.4f}" if board.loss is not None else "")
    status.append(f"  {board.tok_s:,.0f} tok/s" if board.tok_s else "")
    status.append(f"  {left:.0f} s left" if left is not None else "")
    bar = ProgressBar(total=1.0, completed=board.progress, width=max(10, min(40, width - 60)))
    now.add_row(bar, status)
    ours, theirs = [v for _, v in board.curve], [v for _, v in board.incumbent_curve]
    if ours:
        now.add_row("loss", sparkline(ours, 40))
    if ours and theirs:
        now.add_row(Text("incumbent", style="dim"), Text(sparkline(theirs, 40), style="dim"))
    return Panel(Group(now, Text(), _standing(board)), title=f"autoresearch/{board.tag}", title_align="left")


def _standing(board: Board) -> Table:
    grid = Table.grid(padding=(0, 2))
    if board.incumbent_bpb is not None:
        text = Text(f"{board.incumbent_bpb:.6f}", style="bold green")
        if board.baseline_bpb is not None and board.baseline_bpb != board.incumbent_bpb:
            text.append(f"  (baseline {board.baseline_bpb:.6f})", style="dim")
        text.append(f"  sigma {board.sigma_bpb:.4f}" if board.sigma_bpb is not None else "", style="dim")
        text.append(f"  {board.incumbent_title}", style="dim")
        grid.add_row("incumbent", text)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in board.counts.items())
    hours, minutes = divmod(int(time.monotonic() - board.started) // 60, 60)
    grid.add_row("so far", f"{counts}  in {hours}:{minutes:02d} h; {board.ends}")
    if board.machine:
        grid.add_row("machine", Text(board.machine, style="dim"))
    return grid


def choose_view(stream: TextIO | None = None) -> View:
    """The live panel on a terminal, log lines where the output is a file or a pipe."""
    stream = stream or sys.stdout
    console = Console(file=stream)
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(stream)
