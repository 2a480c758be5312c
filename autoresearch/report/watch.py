"""The running loop from another terminal: `watch` it, by what it publishes in runs/TAG/live.json, and `pause` it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.formats import span
from autoresearch.record import journal, pause
from autoresearch.report import status
from autoresearch.report.console import GONE, LIVE
from autoresearch.report.dashboard import draw, result_line
from autoresearch.report.live_state import LiveState
from autoresearch.system import process

LOOK_S = 0.5  # between two looks at the file
ALIVE_S = 5.0  # between two looks for the loop's process


def read(folder: Path) -> LiveState | None:
    """What the loop of runs/TAG published last; None where there is nothing to be read."""
    try:
        return LiveState.from_json((folder / LIVE).read_bytes())
    except (OSError, AutoresearchError):
        return None


def running(folder: Path) -> LiveState | None:
    """The state of the loop that is running on runs/TAG at this moment; None where none is."""
    state = read(folder)
    return state if state is not None and state.over is None and process.alive(state.mark) else None


def watch(root: Path, tag: str | None, console: Console | None = None, look_s: float = LOOK_S) -> int:
    """Shows the running night until it ends or Ctrl-C; the exit code: 1 where the loop is gone without a last word."""
    console = console or Console()
    folder = root / "runs" / status.find_tag(root, tag)
    state = running(folder)
    try:
        if state is not None:
            show = _screen if console.is_terminal and not console.is_dumb_terminal else _lines
            state = show(state, _states(folder, look_s), console)
        console.print(status.text(journal.read(folder)), highlight=False)
    except KeyboardInterrupt:
        return 0
    except GONE:  # this terminal went away; the loop has its own
        return 0
    last = read(folder)
    if last is not None and last.over is None:
        console.print("the loop is gone without a last word: killed, or a power cut. The same command goes on with it")
        return 1
    return 0


def _states(folder: Path, look_s: float) -> Iterator[LiveState]:
    """The state at every look, the last one included, while the loop lives."""
    path, seen, looked = folder / LIVE, 0, 0.0
    state = read(folder)
    while state is not None:
        if time.monotonic() - looked > ALIVE_S:
            looked = time.monotonic()
            if not process.alive(state.mark):
                return
        yield state
        if state.over is not None:
            return
        time.sleep(look_s)
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if changed != seen:
            seen, state = changed, read(folder) or state


def _screen(state: LiveState, states: Iterator[LiveState], console: Console) -> LiveState:
    current: list[LiveState] = [state]
    drawing: Callable[[], object] = lambda: draw(current[0], *console.size)  # noqa: E731
    with Live(get_renderable=drawing, console=console, screen=True, auto_refresh=False) as live:  # type: ignore[arg-type]
        for current[0] in states:
            live.refresh()
    console.print(draw(current[0], console.width))
    return current[0]


def _lines(state: LiveState, states: Iterator[LiveState], console: Console) -> LiveState:
    """Where the output is no terminal: a line a result and a line a phase."""
    shown, phase = -1, ""
    for state in states:
        for result in state.results:
            if result.n > shown:
                console.print(result_line(result), soft_wrap=True)
                shown = result.n
        if phase != (phase := f"#{state.n} run {state.run + 1} {state.phase}: {state.title}"):
            console.print(f"{time.strftime('%H:%M:%S')}  {phase}", soft_wrap=True, highlight=False, markup=False)
    return state


# --- pausing ---------------------------------------------------------------------------------------------------------


def pause_command(root: Path, tag: str | None) -> None:
    """Asks the running loop to pause. Raises UsageError where none runs."""
    folder = root / "runs" / status.find_tag(root, tag)
    state = running(folder)
    if state is None:
        raise UsageError(f"no loop is running on {folder.name}, so there is nothing to pause")
    if (since := pause.asked(folder)) is not None:
        print(f"{folder.name} is paused since {datetime.fromtimestamp(since):%H:%M}; to go on: {pause.GO_ON}")
        return
    pause.begin(folder)
    left = f" (training: {span((1 - state.progress) * state.budget_s)} left)" if state.phase == "training" else ""
    print(f"{folder.name} pauses after the present run{left} and gives the memory back; to go on: {pause.GO_ON}")


def resume_command(root: Path, tag: str | None) -> None:
    """Ends a pause. Raises UsageError where there is none."""
    folder = root / "runs" / status.find_tag(root, tag)
    if not pause.end(folder):
        raise UsageError(f"{folder.name} is not paused. To start it again after its end: uv run loop.py")
    goes_on = running(folder) is not None
    print(f"{folder.name} goes on" if goes_on else f"no loop is running; start it: uv run loop.py --tag {folder.name}")
