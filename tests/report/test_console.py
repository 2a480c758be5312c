"""The views of a running night: plain lines, a panel that steps aside, a terminal that goes away."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from autoresearch.paths import Layout
from autoresearch.report.console import LiveView, PlainView, choose_view, published
from autoresearch.report.live_state import LiveState, ResultRow, RunStart
from testbed.live_states import STEP
from testbed.toy import ROOT

# --- the views ---


def test_plain_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    view = choose_view(stream)
    assert isinstance(view, PlainView)
    view.state.budget_s = 10.0
    view.begin(RunStart(1, 0, "Deeper"))
    view.hear({**STEP, "progress": 0.04})
    view.hear(STEP)
    view.hear({**STEP, "progress": 0.55})
    view.decided(ResultRow(1, "keep", "Deeper", "2 sigma", "tuner", 1.25))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and "#1 run 1: Deeper" in lines[0] and " 50% " in lines[1]
    assert "KEEP" in lines[2] and "1.250000" in lines[2]


def test_what_is_said_cannot_command_the_terminal() -> None:
    plain, screen = io.StringIO(), io.StringIO()
    for view in (PlainView(plain), LiveView(Console(width=100, file=screen, force_terminal=True))):
        view.say("a model's\x1b]0;owned\x07 reply\n\u202ein two lines")
        assert view.state.said == ["a model's ]0;owned  reply\n in two lines"]
    for stream in (plain, screen):
        assert "owned" in stream.getvalue()
        assert not [code for code in ("\x1b]", "\x07", "\u202e") if code in stream.getvalue()]


def test_a_stream_that_is_closed_does_not_end_the_night() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    stream.close()
    view.say("nobody hears this")
    view.say("nor this")
    view.close()


def test_the_panel_steps_aside_for_a_progress_bar() -> None:
    """rich allows only one live display per terminal."""
    for opened in (False, True):
        console = Console(width=100, file=io.StringIO(), force_terminal=True)
        view = LiveView(console, refresh_s=60.0)
        if opened:
            view.open()
        with view.aside() as terminal, Progress(console=terminal) as bars:
            bars.add_task("pulling", total=10, completed=10)
        view.say("it is back")
        view.close()
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert text.index("pulling") < text.rindex("it is back")


def test_lines_go_into_the_log_when_nobody_reads_the_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        view = PlainView(stream)
        view.log = tmp_path / "night.log"
        view.say("heard")
        os.close(reader)
        view.say("not heard")
        view.say("the last")
    assert (tmp_path / "night.log").read_text().splitlines() == ["not heard", "the last"]


def test_what_is_published_is_what_is_shown_and_says_how_it_ended(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "nov23")
    layout.folder.mkdir(parents=True)
    with published(PlainView(io.StringIO()), layout) as view:
        view.state.budget_s = 10.0
        view.begin(RunStart(1, 0, "Deeper"))
        view.hear({**STEP, "progress": 0.1})
        view.hear({**STEP, "progress": 0.2})  # too soon after the last state: not written
        state = LiveState.from_json(layout.live.read_bytes())
        assert (state.title, state.over) == ("Deeper", None) and state.progress < 0.2
        view.hear({"event": "trained"})
        assert LiveState.from_json(layout.live.read_bytes()).phase == "saving"
        view.say("a line")
    state = LiveState.from_json(layout.live.read_bytes())
    assert (state.said, state.over) == (["a line"], "stopped")


SCREEN = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from rich.console import Console
from autoresearch.paths import Layout
from autoresearch.report.console import LiveView
view = LiveView(Console(), refresh_s=0.05)
view.log = Path(sys.argv[1])
view.open()
view.say("before")
while view.__dict__["_plain"] is None and Path(sys.argv[2]).exists():
    time.sleep(0.01)
view.status("waiting")
view.say("after")
view.close()
view.say("closed")
print("the end", flush=True)
"""


class Terminal:
    """Program that runs in a terminal of its own."""

    def __init__(self, script: str, *args: object) -> None:
        self.fd, slave = pty.openpty()
        command = [sys.executable, "-c", script, *map(str, args)]
        env = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=env)
        os.close(slave)

    def read_until(self, text: str, limit_s: float = 60.0) -> str:
        seen, deadline = "", time.monotonic() + limit_s
        while text not in seen:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {seen!r}"
            try:
                seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:  # raised on Linux when the program has ended
                break
        return seen

    def close(self) -> int:
        os.close(self.fd)
        return self.process.wait(60)


@pytest.mark.slow
def test_the_screen_is_given_back_and_what_was_said_is_printed(tmp_path: Path) -> None:
    flag = tmp_path / "on"
    flag.touch()
    terminal = Terminal(SCREEN, tmp_path / "night.log", flag)
    assert "\x1b[?1049h" in terminal.read_until("before")
    flag.unlink()
    rest = terminal.read_until("the end")
    _screen, _, after = rest.partition("\x1b[?1049l")
    assert re.findall("before|after|closed|the end", after) == ["before", "after", "closed", "the end"]
    assert terminal.process.wait(60) == 0
    terminal.close()
    assert not (tmp_path / "night.log").exists()


@pytest.mark.slow
def test_a_terminal_that_goes_away_leaves_a_log_and_a_night_that_goes_on(tmp_path: Path) -> None:
    flag = tmp_path / "on"
    flag.touch()
    terminal = Terminal(SCREEN, tmp_path / "night.log", flag)
    terminal.read_until("before")
    assert terminal.close() == 0  # like an ssh connection that drops or a window that is closed
    lines = (tmp_path / "night.log").read_text().splitlines()
    assert "the terminal went away" in lines[0]
    assert [lines[1], *lines[2].split()[1:], *lines[3:]] == ["before", "waiting", "after", "closed", "the end"]
