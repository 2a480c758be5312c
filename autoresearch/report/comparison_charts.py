"""Draw the pictures of a comparison: the best so far of every night, and the intervals of shared changes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autoresearch.findings.agreement import Attempt, SharedRow
from autoresearch.findings.compare import Comparison, NightRow
from autoresearch.formats import shortened
from autoresearch.report.figures import INK, Axes, settings, style, svg
from autoresearch.report.markup import WIDE, Size

LINE_COLOURS = ("keep", "cool", "warm", "crash", "muted", "ink")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
MANY = 8  # nights, whose letters need more height
ROWS_SHOWN = 12  # of the shared changes
ROW_INCHES = 0.17  # of one interval
LAST = 0.97  # of the width: a line that ends before has its letter where it ends
LABEL_GAP = 0.05  # of the height, between the letters at the ends of two lines


def line_styles(nights: Sequence[NightRow]) -> list[dict[str, Any]]:
    """Return how each night's line is drawn: each machine has a colour, and each of its nights a dash.

    Where all nights ran on one machine, each night has a colour.
    """
    machines = list(dict.fromkeys(night.machine for night in nights))
    seen: Counter[str] = Counter()
    found = []
    for i, night in enumerate(nights):
        colour = machines.index(night.machine) if len(machines) > 1 else i
        dash = seen[night.machine] if len(machines) > 1 else 0
        dash += colour // len(LINE_COLOURS)
        seen[night.machine] += 1
        found.append({"color": INK[LINE_COLOURS[colour % len(LINE_COLOURS)]], "linestyle": DASHES[dash % len(DASHES)]})
    return found


def trajectories_svg(comparison: Comparison, size: Size = WIDE) -> str:
    """Draw each night's gain over its own baseline, in percent and in sigma, by experiment and by hour."""
    panels = [
        (x, y)
        for y in ("gain_percent", "gain_sigma")
        for x in ("experiment", "hour")
        if any(getattr(p, x) is not None and getattr(p, y) is not None for n in comparison.nights for p in n.trajectory)
    ]
    columns = 1 if size[0] < WIDE[0] else max(1, len({x for x, _ in panels}))
    rows = max(1, -(-len(panels) // columns))
    with settings("trajectories", size):
        figure = Figure(
            figsize=(size[0], (2.7 if len(comparison.nights) <= MANY else 3.8) * rows), layout="constrained"
        )
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for ax, panel in itertools.zip_longest(axes, panels):
            style(ax, INK)
            if panel is not None:
                _panel(ax, comparison.nights, *panel)
        return svg(figure)


def _panel(ax: Axes, nights: Sequence[NightRow], x: str, y: str) -> None:
    ends, looks = [], line_styles(nights)
    for i, night in enumerate(nights):
        pairs = [(getattr(p, x), getattr(p, y)) for p in night.trajectory]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            ax.step(*zip(*known, strict=True), where="post", linewidth=1.5, **looks[i])
            ends.append(_LineEnd(*known[-1], night.key, looks[i]["color"]))
    ax.set_xlabel("experiment" if x == "experiment" else "hours of research")
    ax.set_ylabel("gain, % of baseline" if y == "gain_percent" else "gain, sigma of one run")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=x == "experiment"))
    ax.margins(x=0.06)
    _letters(ax, ends)


class _LineEnd(NamedTuple):
    """The last point of a night's line, with the night's letter."""

    x: float
    y: float
    key: str
    colour: str


def _letters(ax: Axes, ends: Sequence[_LineEnd]) -> None:
    """Write each line's letter at its end. Letters at the right that would cover each other move apart."""
    right = max((end.x for end in ends), default=0.0)
    low, high = ax.get_ylim()
    late = sorted((end for end in ends if end.x >= LAST * right), key=lambda end: end.y)
    heights = _apart([end.y for end in late], LABEL_GAP * (high - low), high)
    style = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
    for end, y in zip(late, heights, strict=True):
        ax.annotate(end.key, (right, y), color=end.colour, **style)
    for end in ends:
        if end.x < LAST * right:
            ax.annotate(end.key, (end.x, end.y), color=end.colour, **style)


def _apart(heights: Sequence[float], gap: float, highest: float) -> list[float]:
    """Move ascending heights apart, none above `highest`: _apart([1.0, 1.1, 3.0], 0.5, 9.0) -> [1.0, 1.5, 3.0]."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + gap) if places else height)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], highest)
        highest = places[i] - gap
    return places


def agreement_svg(rows: Sequence[SharedRow], nights: Sequence[NightRow], size: Size = WIDE) -> str:
    """Draw the intervals of each change, a line for each night, in its own sigma; the dotted line is no effect."""
    drawable = [(row, [_bounds(cell, night) for cell, night in zip(row.cells, nights, strict=True)]) for row in rows]
    shown = [(row, bounds) for row, bounds in drawable if len(bounds) - bounds.count(None) > 1][:ROWS_SHOWN]
    lines = sum(1 + len(bounds) - bounds.count(None) for _, bounds in shown)
    with settings("agreement", size):
        figure = Figure(figsize=(size[0], 0.7 + ROW_INCHES * max(lines, 4)), layout="constrained")
        ax = figure.subplots()
        style(ax, INK)
        ax.grid(visible=False)
        ax.axvline(0.0, color=INK["muted"], linewidth=1.0, linestyle=(0, (1.5, 1.5)))
        y, marks, looks = 0, [], line_styles(nights)
        for row, bounds in shown:
            marks.append((y, shortened(row.change, 26 if size[0] < WIDE[0] else 48)))
            for night, found, look in zip(nights, bounds, looks, strict=True):
                if found is not None:
                    _interval(ax, found, y, night.key, look["color"])
                    y += 1
            y += 1
        ax.set_yticks([y for y, _ in marks], [text for _, text in marks])
        ax.set_ylim(max(y - 0.5, 1), -0.8)
        ax.set_xlabel("gain, sigma of one run" + (" (right is better)" if size[0] >= WIDE[0] else ""))
        return svg(figure)


class Bounds(NamedTuple):
    """A gain and its interval, in sigma of one run."""

    low: float
    gain: float
    high: float


def _bounds(cell: Attempt | None, night: NightRow) -> Bounds | None:
    effect, sigma = cell.effect if cell is not None else None, night.sigma_score
    if effect is None or effect.low_score is None or effect.high_score is None or not sigma:
        return None
    return Bounds(effect.low_score / sigma, effect.gain_score / sigma, effect.high_score / sigma)


def _interval(ax: Axes, bounds: Bounds, y: float, key: str, colour: str) -> None:
    ax.plot([bounds.low, bounds.high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
    ax.plot([bounds.gain], [y], "o", color=colour, markersize=4)
    ax.annotate(key, (bounds.high, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=colour)
