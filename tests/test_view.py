"""What a person sees: the board's state, the panel, plain lines."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from autoresearch.view import SPARKS, Board, LiveView, PlainView, Result, choose_view, draw, sparkline

STEP = {"event": "step", "step": 12, "progress": 0.5, "loss": 3.21, "tokens": 50_000}


def board() -> Board:
    made = Board(tag="nov23", budget_s=10.0, incumbent_bpb=1.4, baseline_bpb=1.5, sigma_bpb=0.01)
    made.begin(3, 0, "Halve the batch", "More steps.")
    made.hear(STEP)
    made.decided(Result(2, "crash", None, "Nan", "diverged", "tuner"))
    return made


def test_the_board_follows_a_run() -> None:
    made = board()
    assert (made.phase, made.loss, made.tok_s) == ("training", 3.21, 10_000)
    made.hear({"event": "trained"})
    assert made.phase == "saving"
    made.hear({"event": "evaluated", "rows": 8, "of": 32})
    assert (made.phase, made.progress) == ("evaluating", 0.25)
    made.begin(4, 0, "next", "")
    assert made.curve == [] and made.counts["crash"] == 1


def test_the_panel_shows_what_matters() -> None:
    for width in (60, 100, 200):
        console = Console(width=width, file=io.StringIO(), force_terminal=True)
        console.print(draw(board(), width))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        for expected in ("Halve the batch", "3.2100", "1.400000", "1 crash"):
            assert expected in text, (width, expected)


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


def test_a_terminal_that_goes_away_does_not_end_the_night() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    stream.close()
    view.say("nobody hears this")
    view.say("nor this")
    view.close()


def test_the_panel_steps_aside_for_a_progress_bar() -> None:
    """rich allows one live display a terminal."""
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    view = LiveView(console)
    view.board.title = "the panel"
    with view.aside() as terminal, Progress(console=terminal) as bars:
        bars.add_task("pulling", total=10, completed=10)
    view.say("it is back")
    view.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("pulling") < text.index("it is back") < text.rindex("the panel")


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.integers(1, 80))
def test_a_sparkline_fits_and_ends_with_the_last_value(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(width, len(values)) and set(line) <= set(SPARKS)
    assert sparkline([3.0, 2.0, 1.0], 3) == "█▄▁"
