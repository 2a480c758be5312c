"""The panel at every size: the lines that it shows, and those that are left out first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.report.dashboard import SPARKS, at, clock, sparkline
from autoresearch.report.live_state import LINES_KEPT, LiveState
from testbed.live_states import CLOCKS, drawn, live_state

FULL = live_state()
FULL.said = [f"line {i}" for i in range(LINES_KEPT)]


def test_the_panel_shows_what_matters() -> None:
    made = live_state()
    made.ends_at, made.validation_at, made.experiments, made.decided = CLOCKS.wall + 27_960, None, 80, 12
    text = "\n".join(drawn(made, 130))
    for expected in (
        *("autoresearch/nov23", "#61 run 1  Halve the batch", "More steps.", "50%", "5 s left", "3.2100 at step 12"),
        *("best", "baseline", "sigma of one run", "history", " → ", "60 experiments: 7 kept", "in 8:20 min"),
        *("12 of 80 asked for", "tuner: ", "turns (", "1 failed", "10,000 tok/s", "14.6 GB free"),
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


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_panel_wraps_its_lines_and_cuts_none(width: int) -> None:
    made = live_state()
    lines = drawn(made, width)
    text = " ".join(word for line in lines[1:-1] for word in line.strip("│").split())
    for result in made.results:
        assert " ".join(f"{result.title} {result.reason}".split()) in text
    assert max(map(len, lines)) <= width and "…" not in text.replace("→ … →", "")


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=200), st.integers(30, 100))
def test_any_title_is_shown_whole(title: str, width: int) -> None:
    made = LiveState(title=title, phase="waiting")
    shown = "".join(line.strip("│") for line in drawn(made, width))
    assert "".join(title.split()) in "".join(shown.split())


def test_the_panel_says_when_it_waits_pauses_and_ends() -> None:
    made = live_state()
    made.wait("asking the model")
    made.since = 940.0
    assert "asking the model  1:00 min" in drawn(made)[1]
    made.over = "the time is up"
    assert "ended: the time is up" in drawn(made)[1]
    assert "no better" in "\n".join(drawn(LiveState()))  # a night of which nothing is known yet


def test_the_clock_says_when_the_night_ends() -> None:
    made = LiveState()
    assert clock(made, CLOCKS).endswith("runs until Ctrl-C")
    made.experiments = 12
    assert clock(made, CLOCKS).endswith("ends after 12 experiments")
    made.ends_at, made.validation_at = CLOCKS.wall + 3600, CLOCKS.wall + 1800
    assert re.search(r"ends \d\d:\d\d, in 1 h 0 min · validation from \d\d:\d\d", clock(made, CLOCKS))


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
    assert sparkline([(0.0, 0.0), (1.0, 3e-308)], 2, 0.0, 3e-308) == "▁█"
    assert at([(0.0, 4.0), (0.5, 2.0)], 0.25) == 3.0 and at([(0.0, 4.0), (0.5, 2.0)], 0.6) is None
