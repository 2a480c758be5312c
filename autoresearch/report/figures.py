"""Set up the figures of the pages, drawn by matplotlib as SVG that takes its colours from the page's CSS.

Each colour of INK stands for a CSS variable: it is a colour that nothing else uses, and the finished SVG has
`var(--name)` in its place. So one picture is right on a light and on a dark page. Neither pyplot nor global state is
used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from autoresearch.report.markup import Size

INK_NAMES = ("ink", "muted", "grid", "surface", "keep", "discard", "crash", "band", "warm", "cool")
INK = {name: f"#0102{i:02x}" for i, name in enumerate(INK_NAMES, 16)}  # stand-ins for CSS variables
LIGHT = dict(
    zip(
        INK_NAMES,
        ("#1c1e21", "#6a7078", "#e6e8eb", "#ffffff", "#0a7d55", "#a9afb7", "#c4342d", "#0a7d55", "#c9780b", "#2f6fd0"),
        strict=True,
    )
)
RC: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a title may hold a dollar sign
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}

Colours = Mapping[str, str]
Axes = Any  # matplotlib's type hints know neither dates on an axis nor a dictionary of styles


def settings(name: str, size: Size) -> AbstractContextManager[None]:
    """Return a block in which the figure `name` is drawn.

    The salt makes the ids of all pictures on a page different: a clip path in a hidden picture would not clip.
    """
    return matplotlib.rc_context({**RC, "svg.hashsalt": f"{name} {size}"})


def figure_of(size: Size, colours: Colours) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes in the pages' style; `size` is in inches."""
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    style(ax, colours)
    return figure, ax


def style(ax: Axes, colours: Colours) -> None:
    """Give axes the pages' style."""
    ax.set_facecolor("none")
    ax.grid(axis="y", color=colours["grid"], linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=colours["muted"], labelsize=8.5)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(colours["grid"])
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(colours["muted"])


def svg(figure: Figure) -> str:
    """Return the figure as inline SVG without metadata: as wide as its place, in the page's colours and font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name in ("height", "width"):
        text = re.sub(rf'(<svg[^>]*?) {name}="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", text)
    text = re.sub(r"^ +", "", text, flags=re.MULTILINE)
    text = re.sub(r' id="label"', ' class="label"', re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text))
    for name, colour in INK.items():
        text = text.replace(colour, f"var(--{name})")
    return text
