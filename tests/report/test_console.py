"""What a person sees: the board's state, the panel at every size, plain lines, a terminal that goes away."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from autoresearch.decide import estimates
from autoresearch.errors import JournalError
from autoresearch.report.console import LIVE, LOG, LiveView, PlainView, choose_view, published
from autoresearch.report.dashboard import SPARKS, Moment, at, clock, draw, sparkline
from autoresearch.report.live_state import CURVE_POINTS, SAID, LiveState, Result
from testbed import nights
from testbed.toy import ROOT

STEP = {"event": "step", "step": 12, "progress": 0.5, "loss": 3.21, "tokens": 50_000}
MOMENT = Moment(wall=1_800_000_000.0, monotonic=1000.0)


def board() -> LiveState:
    """A board in the middle of a long night's run."""
    made = LiveState(tag="nov23", budget_s=10.0, machine="Apple M4 Pro", started=500.0, since=990.0)
    night = nights.night(60)
    made.take(night, estimates.read(night))
    made.begin(61, 0, "Halve the batch", "More steps.")
    made.since, made.state = 990.0, {"power": "ac", "swap_mb": 512, "free_memory_mb": 15000, "thermal": "nominal"}
    made.hear({**STEP, "progress": 0.25, "loss": 5.0})
    made.hear(STEP)
    return made


def drawn(made: LiveState, width: int = 100, height: int = 1000) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(draw(made, width, height, MOMENT))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


# --- the board ---


def test_the_board_follows_a_run() -> None:
    made = board()
    assert (made.phase, made.loss, made.tok_s, made.step) == ("training", 3.21, 10_000, 12)
    made.hear({"event": "trained"})
    assert made.phase == "saving"
    made.hear({"event": "evaluated", "rows": 8, "of": 32})
    assert (made.phase, made.progress) == ("evaluating", 0.25)
    made.begin(62, 0, "next", "")
    assert made.curve == [] and made.loss is None
    for i in range(5000):
        made.hear({**STEP, "progress": i / 5000, "loss": float(i)})
    assert len(made.curve) <= CURVE_POINTS and made.curve[-1][1] == 4999.0


def test_the_board_passes_whole_to_another_program() -> None:
    made = board()
    made.say("a line")
    read = LiveState.from_json(made.to_json())
    assert drawn(read) == drawn(made)
    assert read.results == made.results and read.shares == made.shares
    newer = made.to_json().replace(b'{"tag"', b'{"a_later_field":1,"tag"')
    assert drawn(LiveState.from_json(newer)) == drawn(made)
    for torn in (b"", b"[]", b"{", b'{"results":[{}]}', b'{"results":3}'):
        with pytest.raises(JournalError):
            LiveState.from_json(torn)


# --- the panel ---


def test_the_panel_shows_what_matters() -> None:
    made = board()
    made.ends_at, made.validation_at, made.experiments, made.decided = MOMENT.wall + 27_960, None, 80, 12
    text = "\n".join(drawn(made, 130))
    for expected in (
        *("autoresearch/nov23", "#61 run 1  Halve the batch", "More steps.", "50%", "5 s left", "3.2100 at step 12"),
        *("best", "baseline", "sigma of one run", "history", " → ", "60 experiments: 7 kept", "in 8:20 min"),
        *("12 of 80 asked for", "tuner: ", "tried (", "1 empty turns", "s an idea", "10,000 tok/s", "14.6 GB free"),
        *("swap 0.5 GB", "on mains", "heat nominal", "Apple M4 Pro", "in 7 h 46 min", "incumbent"),
    ):
        assert expected in text, expected
    assert re.search(r"#60 +(discard|crash|keep)", text)
    assert re.search(r"\d\.\d{4} (above|below) it here", text)


@settings(max_examples=40)
@given(st.integers(24, 200), st.integers(4, 60))
def test_the_panel_fits_every_terminal(width: int, height: int) -> None:
    lines = drawn(FULL, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "Halve the batch"[: width - 20] in lines[1]


FULL = board()
FULL.said = [f"line {i}" for i in range(SAID)]


def test_the_panel_says_when_it_waits_pauses_and_ends() -> None:
    made = board()
    made.wait("asking the model")
    made.since = 940.0
    assert "asking the model  1:00 min" in drawn(made)[1]
    made.over = "the time is up"
    assert "ended: the time is up" in drawn(made)[1]
    assert "no better" in "\n".join(drawn(LiveState()))  # a board of which nothing is known yet


def test_the_clock_says_when_the_night_ends() -> None:
    made = LiveState()
    assert clock(made, MOMENT).endswith("runs until Ctrl-C")
    made.experiments = 12
    assert clock(made, MOMENT).endswith("ends after 12 experiments")
    made.ends_at, made.validation_at = MOMENT.wall + 3600, MOMENT.wall + 1800
    assert re.search(r"ends \d\d:\d\d, in 1 h 0 min · validation from \d\d:\d\d", clock(made, MOMENT))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1e6, 1e6)), max_size=200), st.integers(1, 80))
def test_a_sparkline_stands_over_the_progress(curve: list[tuple[float, float]], columns: int) -> None:
    curve.sort()
    losses = [loss for _, loss in curve] or [0.0]
    line = sparkline(curve, columns, min(losses), max(losses))
    assert set(line) <= {*SPARKS, " "}
    assert len(line) == (min(columns - 1, int(curve[-1][0] * columns)) + 1 if curve else 0)


def test_sparklines_times_and_curves() -> None:
    assert sparkline([(0.0, 3.0), (0.4, 2.0), (0.9, 1.0)], 3, 1.0, 3.0) == "█▄▁"
    assert sparkline([(0.0, 30.0), (0.9, 1.0)], 3, 1.0, 3.0) == "██▁"
    assert at([(0.0, 4.0), (0.5, 2.0)], 0.25) == 3.0 and at([(0.0, 4.0), (0.5, 2.0)], 0.6) is None


# --- the views ---


def test_plain_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    view = choose_view(stream)
    assert isinstance(view, PlainView)
    view.board.budget_s = 10.0
    view.begin(1, 0, "Deeper", "")
    view.hear({**STEP, "progress": 0.04})
    view.hear(STEP)
    view.hear({**STEP, "progress": 0.55})
    view.decided(Result(1, "keep", 1.25, "Deeper", "2 sigma", "tuner"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and "#1 run 0: Deeper" in lines[0] and " 50% " in lines[1]
    assert "KEEP" in lines[2] and "1.250000" in lines[2]


def test_a_stream_that_is_closed_does_not_end_the_night() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    stream.close()
    view.say("nobody hears this")
    view.say("nor this")
    view.close()


def test_the_panel_steps_aside_for_a_progress_bar() -> None:
    """rich allows one live display a terminal."""
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
        view.log = tmp_path / LOG
        view.say("heard")
        os.close(reader)
        view.say("not heard")
        view.say("the last")
    assert (tmp_path / LOG).read_text().splitlines() == ["not heard", "the last"]


def test_what_is_published_is_what_is_shown_and_says_how_it_ended(tmp_path: Path) -> None:
    with published(PlainView(io.StringIO()), tmp_path) as view:
        view.board.budget_s = 10.0
        view.begin(1, 0, "Deeper", "")
        view.hear({**STEP, "progress": 0.1})
        view.hear({**STEP, "progress": 0.2})  # sooner than anybody looks: not written
        state = LiveState.from_json((tmp_path / LIVE).read_bytes())
        assert (state.title, state.over) == ("Deeper", None) and state.progress < 0.2
        view.hear({"event": "trained"})
        assert LiveState.from_json((tmp_path / LIVE).read_bytes()).phase == "saving"
        view.say("a line")
    state = LiveState.from_json((tmp_path / LIVE).read_bytes())
    assert (state.said, state.over) == (["a line"], "stopped")


SCREEN = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from rich.console import Console
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
    """A program in a terminal of its own."""

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
            except OSError:  # Linux, when the program has ended
                break
        return seen

    def close(self) -> int:
        os.close(self.fd)
        return self.process.wait(60)


def test_the_screen_is_given_back_and_what_was_said_is_printed(tmp_path: Path) -> None:
    flag = tmp_path / "on"
    flag.touch()
    terminal = Terminal(SCREEN, tmp_path / LOG, flag)
    assert "\x1b[?1049h" in terminal.read_until("before")
    flag.unlink()
    rest = terminal.read_until("the end")
    _screen, _, after = rest.partition("\x1b[?1049l")
    assert re.findall("before|after|closed|the end", after) == ["before", "after", "closed", "the end"]
    assert terminal.process.wait(60) == 0
    terminal.close()
    assert not (tmp_path / LOG).exists()


def test_a_terminal_that_goes_away_leaves_a_log_and_a_night_that_goes_on(tmp_path: Path) -> None:
    flag = tmp_path / "on"
    flag.touch()
    terminal = Terminal(SCREEN, tmp_path / LOG, flag)
    terminal.read_until("before")
    assert terminal.close() == 0  # the master's end: an ssh connection that drops, a window that is closed
    lines = (tmp_path / LOG).read_text().splitlines()
    assert "the terminal went away" in lines[0]
    assert [lines[1], *lines[2].split()[1:], *lines[3:]] == ["before", "waiting", "after", "closed", "the end"]
