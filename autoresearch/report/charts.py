"""The report's pictures, drawn by matplotlib: SVG that takes its colours from the page's CSS, and progress.png.

A colour of `INK` stands for a CSS variable: the SVG is drawn in a colour nobody uses and that is replaced by
`var(--name)`, so that one picture is right in light and in dark. Nothing here uses pyplot or touches global state.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import matplotlib
import matplotlib.dates
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from autoresearch.report.analysis import Moment, Point, Speed

NAMES = ("ink", "muted", "grid", "surface", "keep", "discard", "crash", "band", "warm", "cool")
INK = {name: f"#0102{i:02x}" for i, name in enumerate(NAMES, 16)}  # stand-ins for CSS variables
LIGHT = dict(
    zip(
        NAMES,
        ("#1c1e21", "#6a7078", "#e6e8eb", "#ffffff", "#0a7d55", "#a9afb7", "#c4342d", "#0a7d55", "#c9780b", "#2f6fd0"),
        strict=True,
    )
)
WIDE, NARROW = (9.6, 4.3), (3.9, 3.9)  # inches at 72 units each: a desktop column, a phone
TITLE_LENGTH = 40
SHORT_S = 1800.0  # nights below this show seconds on the clock
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
dates: Any = matplotlib.dates


@dataclass(frozen=True, slots=True)
class Progress:
    """All that the progress picture shows. `line` is the running best, as (experiment, bits per byte)."""

    points: Sequence[Point]
    line: Sequence[tuple[int, float]]
    sigma_bpb: float | None


def progress_svg(progress: Progress, size: tuple[float, float] = WIDE) -> str:
    with _settings("progress", size):
        return _svg(_progress(progress, size, INK))


def progress_png(progress: Progress) -> bytes:
    """The same picture for a README or a message, in the light colours."""
    with _settings("png", WIDE):
        buffer = io.BytesIO()
        _progress(progress, (11.0, 5.2), LIGHT).savefig(buffer, format="png", dpi=150, facecolor=LIGHT["surface"])
        return buffer.getvalue()


def machine_svg(moments: Sequence[Moment], speeds: Sequence[Speed], size: tuple[float, float] = WIDE) -> str:
    """Throughput, the machine's own speed, memory and battery over the clock; heat and battery power as shades."""
    with _settings("machine", size):
        return _svg(_machine(moments, speeds, size[0], INK))


def losses_svg(curves: Mapping[str, Sequence[tuple[float, float]]], size: tuple[float, float] = WIDE) -> str:
    """Training loss (nats a token) by used budget, one line a name; the last is the one to look at."""
    with _settings("losses", size):
        figure, ax = _figure((size[0], 2.9), INK)
        for i, (name, curve) in enumerate(curves.items()):
            last = i == len(curves) - 1
            x, y = [100 * p for p, _ in curve], [loss for _, loss in curve]
            ax.plot(x, y, color=INK["keep" if last else "muted"], linewidth=1.8 if last else 1.2, label=name)
        ax.set_xlabel("used budget (%)")
        ax.set_ylabel("training loss (nats a token)")
        late = [loss for curve in curves.values() for p, loss in curve if p > 0.1]
        if late:
            ax.set_ylim(min(late) - 0.05 * (max(late) - min(late) or 1.0), max(late))
        ax.legend(frameon=False, labelcolor=INK["ink"])
        return _svg(figure)


def _settings(name: str, size: tuple[float, float]) -> AbstractContextManager[None]:
    """The salt keeps apart the ids of pictures on one page: a clip path of a hidden picture does not clip."""
    return matplotlib.rc_context({**RC, "svg.hashsalt": f"{name} {size}"})


# --- progress -------------------------------------------------------------------------------------------------------


def _progress(progress: Progress, size: tuple[float, float], colours: Colours) -> Figure:
    figure, ax = _figure(size, colours)
    points = progress.points
    last = max((p.n for p in points), default=0)
    low, high = _limits(progress)
    ax.set_ylim(low, high)
    ax.set_xlim(-0.02 * max(last, 1) - 0.5, 1.02 * last + 0.5)
    _best(ax, progress, last, colours)
    inside = [p for p in points if p.bpb is not None and p.bpb <= high]
    tried = [p for p in inside if p.kind == "discard"]
    size_pt = 20.0 if len(points) <= 150 else 12.0 if len(points) <= 400 else 7.0
    _dots(ax, tried, size_pt, facecolor="none", edgecolor=colours["discard"], linewidth=1.0)
    _edge(ax, [p for p in points if _outside(p, high)], "^", colours["discard"], size_pt)
    _edge(ax, [p for p in points if p.kind == "crash"], "x", colours["crash"], size_pt)
    kept = [p for p in inside if p.kind in ("keep", "baseline")]
    _dots(
        ax,
        kept,
        34.0 if len(points) <= 150 else 24.0,
        facecolor=colours["keep"],
        edgecolor=colours["surface"],
        linewidth=0.8,
    )
    ax.set_xlabel("experiment")
    ax.set_ylabel("val_bpb (lower is better)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    _label(figure, ax, progress, colours)
    return figure


def off_the_scale(progress: Progress) -> bool:
    """Whether some experiment is so bad that it stands at the picture's edge."""
    return any(_outside(p, _limits(progress)[1]) for p in progress.points)


def _outside(point: Point, high: float) -> bool:
    """Too bad for the picture: measured above it, or stopped early for being far behind."""
    return point.kind != "crash" and (point.bpb is None or point.bpb > high)


def _limits(progress: Progress) -> tuple[float, float]:
    """From the best to a little above the baseline and most of the rest: one bad idea must not flatten the night."""
    values = sorted(p.bpb for p in progress.points if p.bpb is not None)
    known = values + [bpb for _, bpb in progress.line]
    if not known:
        return 0.0, 1.0
    first = [p.bpb for p in progress.points if p.kind == "baseline" and p.bpb is not None]
    typical = values[int(0.9 * (len(values) - 1))] if values else max(known)
    top, bottom = max([*first, *(bpb for _, bpb in progress.line), typical]), min(known)
    sigma = progress.sigma_bpb or 0.0
    room = (top - bottom) or sigma or 0.01
    return bottom - max(0.12 * room, 1.3 * sigma), top + max(0.12 * room, 1.3 * sigma)


def _best(ax: Axes, progress: Progress, last: int, colours: Colours) -> None:
    """The running best as steps, within a band of one sigma."""
    if not progress.line:
        return
    x = [n for n, _ in progress.line] + [last + 0.4]
    y = [bpb for _, bpb in progress.line] + [progress.line[-1][1]]
    sigma = progress.sigma_bpb or 0.0
    lower, upper = [v - sigma for v in y], [v + sigma for v in y]
    ax.fill_between(x, lower, upper, step="post", color=colours["band"], alpha=0.14, linewidth=0)
    ax.step(x, y, where="post", color=colours["keep"], linewidth=1.6)


def _dots(ax: Axes, points: Sequence[Point], size_pt: float, **style: Any) -> None:
    if points:
        dots = ax.scatter([p.n for p in points], [p.bpb for p in points], s=size_pt, zorder=3, **style)
        dots.set_urls([f"#e{p.n}" for p in points])


def _edge(ax: Axes, points: Sequence[Point], marker: str, colour: str, size_pt: float) -> None:
    """Crashes and what lies off the scale stand at the upper edge."""
    if points:
        where = ax.get_xaxis_transform()
        style = {"color": colour, "marker": marker, "s": size_pt, "linewidth": 1.0, "clip_on": False}
        marks = ax.scatter([p.n for p in points], [0.985] * len(points), transform=where, zorder=3, **style)
        marks.set_urls([f"#e{p.n}" for p in points])


def _label(figure: Figure, ax: Axes, progress: Progress, colours: Colours) -> None:
    """Numbers and, where there is room, titles at the kept ones; those that gained most choose first.

    A label lies within the axes, on no other label and not on the running best, and covers as few points as can be.
    """
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    taken = list(_line_boxes(ax, progress, frame))
    dots = ax.transData.transform([(p.n, p.bpb) for p in progress.points if p.bpb is not None] or [(0, 0)])
    for n, bpb, title in _by_gain(progress):
        short = _short(title)
        best: tuple[int, str, tuple[int, int], Bbox] | None = None
        for text, dx, dy in ((t, x, y) for t in (f"{n}  {short}".rstrip(), f"{n}") for x, y in OFFSETS):
            box = _extent(ax, renderer, text, (n, bpb), (dx, dy))
            if not _within(box, frame) or any(box.overlaps(other) for other in taken):
                continue
            covered = sum(box.contains(px, py) for px, py in dots)
            if best is None or covered < best[0]:
                best = (covered, text, (dx, dy), box)
            if "  " not in text and best is not None:
                break
        if best is not None:
            _, text, offset, box = best
            _annotate(ax, text, (n, bpb), offset, colours)
            taken.append(box)


OFFSETS = ((7, 6), (-7, -6), (7, -6), (-7, 6), (7, 16), (-7, -16), (7, 28), (-7, -28))  # points: right, up


def _short(title: str) -> str:
    """One short line in characters that the font has; empty where it lacks them: the number says enough."""
    line = " ".join(title.split())
    line = line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
    font: Any = get_font(findfont("DejaVu Sans"))
    return line if all(font.get_char_index(ord(c)) for c in line) else ""


def _by_gain(progress: Progress) -> list[tuple[int, float, str]]:
    titles = {p.n: p.title for p in progress.points}
    steps = [(before[1] - after[1], after) for before, after in itertools.pairwise(progress.line)]
    return [(n, bpb, titles.get(n, "")) for _, (n, bpb) in sorted(steps, reverse=True)]


def _line_boxes(ax: Axes, progress: Progress, frame: Bbox) -> Iterator[Bbox]:
    """The running best as thin boxes, horizontal and vertical, in pixels."""
    line = [ax.transData.transform(point) for point in progress.line]
    for i, (x, y) in enumerate(line):
        x_next, y_next = line[i + 1] if i + 1 < len(line) else (frame.x1, y)
        yield Bbox([[x, y - 1.5], [x_next, y + 1.5]])
        yield Bbox([[x_next - 1.5, min(y, y_next)], [x_next + 1.5, max(y, y_next)]])


def _extent(ax: Axes, renderer: Any, text: str, at: tuple[float, float], offset: tuple[int, int]) -> Bbox:
    annotation = _annotate(ax, text, at, offset, LIGHT)
    box: Bbox = annotation.get_window_extent(renderer).expanded(1.02, 1.05)
    annotation.remove()
    return box


def _annotate(ax: Axes, text: str, at: tuple[float, float], offset: tuple[int, int], colours: Colours) -> Any:
    ha, va = ("left" if offset[0] > 0 else "right"), ("bottom" if offset[1] > 0 else "top")
    style = {"color": colours["ink"], "fontsize": 8.5, "ha": ha, "va": va, "zorder": 5}
    label = ax.annotate(text, at, xytext=offset, textcoords="offset points", **style)
    if colours is LIGHT:
        label.set_path_effects([withStroke(linewidth=2.5, foreground=colours["surface"])])
    label.set_gid("label")  # the page gives it a halo: path effects would turn the text into outlines
    return label


def _within(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)


# --- the machine ----------------------------------------------------------------------------------------------------


def _machine(moments: Sequence[Moment], speeds: Sequence[Speed], width: float, colours: Colours) -> Figure:
    rows = ["throughput", "speed"] if any(s.relative for s in speeds) else ["throughput"]
    rows += ["memory"] if moments else []
    rows += ["battery"] if any(m.battery_percent is not None for m in moments) else []
    figure = Figure(figsize=(width, 0.5 + 1.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    by_name = dict(zip(rows, axes, strict=True))
    for ax in axes:
        _style(ax, colours)
        _shades(ax, moments, colours)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=3))
    _series(by_name["throughput"], [(s.t, s.tok_s) for s in speeds], colours["muted"], "thousand tokens/s", 1e-3)
    if "speed" in by_name:
        ax = by_name["speed"]
        _series(ax, [(s.t, s.relative) for s in speeds], colours["keep"], "machine speed", line=True)
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, 0.94), max(high, 1.06))
    if "memory" in by_name:
        ax = by_name["memory"]
        _series(ax, [(m.t, m.free_gb) for m in moments], colours["cool"], "free", line=True)
        _series(ax, [(m.t, m.swap_gb) for m in moments], colours["crash"], "swap", line=True)
        _series(ax, [(s.t, s.peak_gb) for s in speeds], colours["muted"], "a run's peak")
        ax.set_ylabel("memory (GB)")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, ncols=3, labelcolor=colours["muted"], fontsize=8, loc="best", handlelength=1.2)
    if "battery" in by_name:
        _series(
            by_name["battery"], [(m.t, m.battery_percent) for m in moments], colours["warm"], "battery (%)", line=True
        )
        by_name["battery"].set_ylim(0, 105)
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)
    axes[-1].xaxis.set_major_locator(locator)
    short = max((s.t for s in speeds), default=0.0) - min((s.t for s in speeds), default=0.0) < SHORT_S
    axes[-1].xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S" if short else "%H:%M"))
    return figure


def _series(
    ax: Axes,
    pairs: Sequence[tuple[float, float | None]],
    colour: str,
    label: str,
    scale: float = 1.0,
    line: bool = False,
) -> None:
    known = [(datetime.fromtimestamp(t), v * scale) for t, v in sorted(pairs, key=lambda p: p[0]) if v is not None]
    if not known:
        return
    x, y = zip(*known, strict=True)
    style = (
        {"linewidth": 1.2} if line else {"linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0}
    )
    ax.plot(x, y, color=colour, label=label, **style)
    ax.set_ylabel(label)


def _shades(ax: Axes, moments: Sequence[Moment], colours: Colours) -> None:
    """Heat and battery power behind the curves."""
    hot = [m.thermal not in (None, "nominal") for m in moments]
    for start, end in _spans(moments, hot):
        ax.axvspan(start, end, color=colours["crash"], alpha=0.10, linewidth=0)
    for start, end in _spans(moments, [m.power == "battery" for m in moments]):
        ax.axvspan(start, end, color=colours["warm"], alpha=0.10, linewidth=0)


def _spans(moments: Sequence[Moment], marked: Sequence[bool]) -> Iterator[tuple[datetime, datetime]]:
    """Neighbours that are marked, from the first to the moment after the last."""
    for mark, group in itertools.groupby(range(len(moments)), key=lambda i: marked[i]):
        if mark:
            indices = list(group)
            end = moments[min(indices[-1] + 1, len(moments) - 1)].t
            yield datetime.fromtimestamp(moments[indices[0]].t), datetime.fromtimestamp(end)


# --- figures and SVG ------------------------------------------------------------------------------------------------


def _figure(size: tuple[float, float], colours: Colours) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    _style(ax, colours)
    return figure, ax


def _style(ax: Axes, colours: Colours) -> None:
    ax.set_facecolor("none")
    ax.grid(axis="y", color=colours["grid"], linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=colours["muted"], labelsize=8.5)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(colours["grid"])
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(colours["muted"])


def _svg(figure: Figure) -> str:
    """The figure as inline SVG: as wide as its place, without metadata, in the page's colours and font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    svg = re.sub(r"^ +", "", svg, flags=re.MULTILINE)
    svg = re.sub(r' id="label"', ' class="label"', re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg))
    for name, colour in INK.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
