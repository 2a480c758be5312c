"""Watch and pause the running loop from another terminal, by what it publishes in runs/TAG/live.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.panel import Panel

from autoresearch.errors import UsageError
from autoresearch.formats import run_name, span
from autoresearch.paths import Layout
from autoresearch.record import journal, pause
from autoresearch.report import live_state, status
from autoresearch.report.console import GONE
from autoresearch.report.dashboard import draw, result_line
from autoresearch.report.live_state import LiveState
from autoresearch.system import process
from autoresearch.system.invocation import command

LOOK_S = 0.5  # between two looks at the file
ALIVE_S = 5.0  # between two looks for the loop's process


def watch(root: Path, tag: str | None, console: Console | None = None, look_s: float = LOOK_S) -> int:
    """Show the running night until it ends or Ctrl-C, then its summary.

    Return the exit code: 1 where the loop's process is gone and it did not say why, else 0.
    """
    console = console or Console()
    layout = Layout(root, status.find_tag(root, tag))
    try:
        if live_state.running(layout) is not None:
            show = _screen if console.is_terminal and not console.is_dumb_terminal else _lines
            show(_states(layout, look_s), console)
        console.print(status.text(journal.read(layout)), highlight=False)
    except KeyboardInterrupt:
        return 0
    except GONE:  # this terminal went away; the loop has its own
        return 0
    last = live_state.published(layout)
    if last is not None and last.over is None:
        console.print(
            "the loop ended without saying why: it was killed, or the power failed. Resume it with the command above"
        )
        return 1
    return 0


def _states(layout: Layout, look_s: float) -> Iterator[LiveState]:
    """Yield the state at every look while the loop's process lives, up to and including its last one."""
    path, seen, looked = layout.live, 0, 0.0
    state = live_state.published(layout)
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
            seen, state = changed, live_state.published(layout) or state


def _screen(states: Iterator[LiveState], console: Console) -> None:
    """Draw each state on the whole terminal, and leave the last one above the prompt."""
    shown = LiveState()

    def drawn() -> Panel:
        return draw(shown, *console.size)

    with Live(get_renderable=drawn, console=console, screen=True, auto_refresh=False) as live:
        for state in states:
            shown = state
            live.refresh()
    console.print(draw(shown, console.width))


def _lines(states: Iterator[LiveState], console: Console) -> None:
    """Print a line for each result and each phase, where the output is not a terminal."""
    last_n, last_phase = -1, ""
    for state in states:
        for result in state.results:
            if result.n > last_n:
                console.print(result_line(result), soft_wrap=True)
                last_n = result.n
        phase = f"#{state.n} {run_name(state.run)} {state.phase}: {state.title}"
        if phase != last_phase:
            console.print(f"{time.strftime('%H:%M:%S')}  {phase}", soft_wrap=True, highlight=False, markup=False)
            last_phase = phase


# --- pausing ---------------------------------------------------------------------------------------------------------


def pause_command(root: Path, tag: str | None) -> None:
    """Ask the running loop to pause: `loop.py pause`, all nights of a fleet. Raises UsageError where none runs."""
    for each in _meant(root, tag, lambda layout: live_state.running(layout) is not None):
        _pause(Layout(root, each))


def _meant(root: Path, tag: str | None, applies: Callable[[Layout], bool]) -> list[str]:
    """Return the tags that a command means: all to which it applies, unless one is named or checked out."""
    found = [each for each in journal.nights(root) if applies(Layout(root, each))]
    meant = [each for each in found if tag is None or each.startswith(f"{tag}-")]
    return meant if len(meant) > 1 else [status.find_tag(root, meant[0] if tag is not None and meant else tag)]


def _pause(layout: Layout) -> None:
    state = live_state.running(layout)
    if state is None:
        raise UsageError(f"no loop is running on {layout.tag}, so there is nothing to pause")
    if (since := pause.asked(layout)) is not None:
        at = datetime.fromtimestamp(since)
        print(f"{layout.tag} has been paused since {at:%H:%M}; to resume: {pause.how_to_resume()}")
        return
    pause.begin(layout)
    left = f" ({span((1 - state.progress) * state.budget_s)} of training left)" if state.phase == "training" else ""
    print(f"{layout.tag} pauses after the present run{left} and frees the memory; to resume: {pause.how_to_resume()}")


def resume_command(root: Path, tag: str | None) -> None:
    """End a pause: `loop.py resume`, of all nights of a fleet. Raises UsageError where there is none."""
    for each in _meant(root, tag, lambda layout: pause.asked(layout) is not None):
        _resume(Layout(root, each))


def _resume(layout: Layout) -> None:
    if not pause.end(layout):
        raise UsageError(f"{layout.tag} is not paused. To start a finished night again: {command('loop.py')}")
    if live_state.running(layout) is not None:
        print(f"{layout.tag} resumes")
    else:
        print(f"no loop is running; start it: {command(journal.read(layout).resuming)}")
