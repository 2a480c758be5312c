"""Draw the progress picture: every experiment, the running best within one sigma, and titles at what was kept."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import Bbox

from autoresearch.formats import shortened
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.report.analysis import ProgressPoint
from autoresearch.report.figures import INK, LIGHT, Axes, Colours, figure_of, settings, svg
from autoresearch.report.markup import WIDE, Size

TITLE_LENGTH, PNG_TITLE_LENGTH = 40, 110  # characters
WORDS = {"baseline": "baseline", "keep": "kept", "discard": "no better", "crash": "crashed"}
OFFSETS = ((7, 6), (-7, -6), (7, -6), (-7, 6), (7, 16), (-7, -16), (7, 28), (-7, -28))  # points: right, up


@dataclass(frozen=True, slots=True)
class ProgressPicture:
    """All that the progress picture shows. `line` is the running best, as (experiment, score)."""

    points: Sequence[ProgressPoint]
    line: Sequence[tuple[int, float]]
    sigma_score: float | None
    metric: Metric = VAL_BPB


def progress_svg(progress: ProgressPicture, size: Size = WIDE) -> str:
    """Draw the picture for a page; `size` is in inches."""
    with settings("progress", size):
        return _with_values(svg(_progress(progress, size, INK)), progress)


def progress_png(progress: ProgressPicture, title: str = "") -> bytes:
    """Draw the picture as PNG in the light colours, with a title and a legend, for a README or a message."""
    with settings("png", WIDE):
        figure = _progress(progress, (11.0, 5.2), LIGHT, legend=True)
        if title:
            figure.suptitle(_drawable(title, PNG_TITLE_LENGTH), x=0.01, ha="left", color=LIGHT["ink"], fontsize=11)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, facecolor=LIGHT["surface"])
        return buffer.getvalue()


def _with_values(picture: str, progress: ProgressPicture) -> str:
    """Give each point of an SVG what a browser shows under the pointer: its number, value and title."""
    texts = {f"#e{p.n}": escape(_told(p, progress.metric)) for p in progress.points}

    def titled(link: re.Match[str]) -> str:
        text = texts.get(link[2])
        return link[0] if text is None else f'<a xlink:href="{link[2]}"><title>{text}</title>'

    return re.sub(r'(<a [^>]*xlink:href="(#e\d+)"[^>]*>)', titled, picture)


def _told(point: ProgressPoint, metric: Metric) -> str:
    """Describe a point in a line: "12 kept, val_bpb 1.608000: Halve the depth"."""
    value = "" if point.score is None else f", {metric.text(point.score)}"
    return f"{point.n} {WORDS[point.kind]}{value}: {point.title}"


def _progress(progress: ProgressPicture, size: Size, colours: Colours, legend: bool = False) -> Figure:
    figure, ax = figure_of(size, colours)
    points = progress.points
    last = max((p.n for p in points), default=0)
    low, high = _limits(progress)
    ax.set_ylim(low, high)
    ax.set_xlim(-0.02 * max(last, 1) - 0.5, 1.02 * last + 0.5)
    _best(ax, progress, last, colours)
    inside = [p for p in points if p.score is not None and p.score <= high]
    tried = [p for p in inside if p.kind == "discard"]
    size_pt, kept_pt = (20.0, 34.0) if len(points) <= 150 else (12.0, 24.0) if len(points) <= 400 else (7.0, 24.0)
    _dots(ax, tried, size_pt, facecolor="none", edgecolor=colours["discard"], linewidth=1.0, label="no better")
    _edge(ax, [p for p in points if _outside(p, high)], "^", colours["discard"], size_pt, "off the scale")
    _edge(ax, [p for p in points if p.kind == "crash"], "x", colours["crash"], size_pt, "crashed")
    kept = [p for p in inside if p.kind in ("keep", "baseline")]
    _dots(ax, kept, kept_pt, facecolor=colours["keep"], edgecolor=colours["surface"], linewidth=0.8, label="kept")
    ax.set_xlabel("experiment")
    metric = progress.metric
    ax.set_ylabel(f"{metric.name} ({metric.direction} is better)")
    if metric.scale == "log":
        ax.yaxis.set_major_formatter(lambda score, _: metric.number(score))
        if len(round_scores := _round_scores(metric, low, high)) > 1:
            ax.yaxis.set_major_locator(FixedLocator(round_scores))
    elif metric.direction == "higher":
        ax.yaxis.set_major_formatter(lambda score, _: f"{-score:g}")
    if metric.direction == "higher":  # scores are drawn, of which lower ones are better
        ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if legend:
        _legend(figure, ax, colours)
    _label(figure, ax, progress, colours)
    return figure


def _round_scores(metric: Metric, low: float, high: float) -> list[float]:
    """Return the scores of round values (1, 2, 5, 10, ...) between two scores of a log scale."""
    least, most = sorted((metric.value(low), metric.value(high)))
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [metric.score(value) for value in values if least <= value <= most]


def _legend(figure: Figure, ax: Axes, colours: Colours) -> None:
    """Write the legend above the axes: the kinds of points that there are, the running best and its band."""
    handles, labels = ax.get_legend_handles_labels()
    style = {"frameon": False, "labelcolor": colours["muted"], "fontsize": 8.5, "handlelength": 1.4}
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels) or 1, **style)


def off_the_scale(progress: ProgressPicture) -> bool:
    """Return whether an experiment is so bad that it is drawn at the picture's edge."""
    return any(_outside(p, _limits(progress)[1]) for p in progress.points)


def _outside(point: ProgressPoint, high: float) -> bool:
    """Return whether a point lies above the picture, or was stopped early, far behind."""
    return point.kind != "crash" and (point.score is None or point.score > high)


def _limits(progress: ProgressPicture) -> tuple[float, float]:
    """Return the limits of the y axis: from the best to a little above the baseline and most other points.

    One very bad experiment must not flatten the whole picture.
    """
    values = sorted(p.score for p in progress.points if p.score is not None)
    known = values + [score for _, score in progress.line]
    if not known:
        return 0.0, 1.0
    first = [p.score for p in progress.points if p.kind == "baseline" and p.score is not None]
    typical = values[int(0.9 * (len(values) - 1))] if values else max(known)
    top, bottom = max([*first, *(score for _, score in progress.line), typical]), min(known)
    sigma = progress.sigma_score or 0.0
    room = max((top - bottom) or sigma or 0.01, 1e-9 * abs(top))  # what a float can still tell apart
    return bottom - max(0.12 * room, 1.3 * sigma), top + max(0.12 * room, 1.3 * sigma)


def _best(ax: Axes, progress: ProgressPicture, last: int, colours: Colours) -> None:
    """Draw the running best as steps, within a band of one sigma."""
    if not progress.line:
        return
    x = [n for n, _ in progress.line] + [last + 0.4]
    y = [score for _, score in progress.line] + [progress.line[-1][1]]
    sigma = progress.sigma_score or 0.0
    lower, upper = [v - sigma for v in y], [v + sigma for v in y]
    band = {"color": colours["band"], "alpha": 0.14, "linewidth": 0, "label": "± one σ of a single run"}
    ax.fill_between(x, lower, upper, step="post", **band)
    ax.step(x, y, where="post", color=colours["keep"], linewidth=1.6, label="running best")


def _dots(ax: Axes, points: Sequence[ProgressPoint], size_pt: float, **style: Any) -> None:
    if points:
        dots = ax.scatter([p.n for p in points], [p.score for p in points], s=size_pt, zorder=3, **style)
        dots.set_urls([f"#e{p.n}" for p in points])


def _edge(ax: Axes, points: Sequence[ProgressPoint], marker: str, colour: str, size_pt: float, label: str) -> None:
    """Mark points at the upper edge: crashes, and what lies off the scale."""
    if points:
        where = ax.get_xaxis_transform()
        style = {"color": colour, "marker": marker, "s": size_pt, "linewidth": 1.0, "clip_on": False}
        at = [p.n for p in points], [0.985] * len(points)
        marks = ax.scatter(*at, transform=where, zorder=3, label=label, **style)
        marks.set_urls([f"#e{p.n}" for p in points])


class _Label(NamedTuple):
    """A text beside a kept point, and the box that it takes in pixels."""

    text: str
    at: tuple[float, float]
    offset: tuple[int, int]
    box: Bbox


def _label(figure: Figure, ax: Axes, progress: ProgressPicture, colours: Colours) -> None:
    """Write numbers and, where there is room, titles at the kept points, starting with the largest gain.

    A label lies within the axes and covers no other label, not the running best, and as few points as possible.
    """
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    taken = list(_line_boxes(ax, progress, frame))
    dots = ax.transData.transform([(p.n, p.score) for p in progress.points if p.score is not None] or [(0, 0)])
    titles = {p.n: p.title for p in progress.points}
    for n, score in _by_gain(progress.line):
        texts = (f"{n}  {_drawable(titles.get(n, ''))}".rstrip(), str(n))
        for text in texts:
            labels = [_Label(text, (n, score), xy, _extent(ax, renderer, text, (n, score), xy)) for xy in OFFSETS]
            free = [one for one in labels if _within(one.box, frame) and not any(map(one.box.overlaps, taken))]
            if free:
                best = min(free, key=lambda one: sum(one.box.contains(x, y) for x, y in dots))
                _annotate(ax, best.text, best.at, best.offset, colours)
                taken.append(best.box)
                break


def _drawable(title: str, length: int = TITLE_LENGTH) -> str:
    """Return a title as one short line; empty where the font lacks one of its characters."""
    line = shortened(" ".join(title.split()), length)
    font: Any = get_font(findfont("DejaVu Sans"))
    return line if all(font.get_char_index(ord(c)) for c in line) else ""


def _by_gain(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the steps of the running best, the largest gain first: [(0, 9), (3, 8), (4, 2)] -> [(4, 2), (3, 8)]."""
    steps = [(before[1] - after[1], after) for before, after in itertools.pairwise(line)]
    return [after for _, after in sorted(steps, reverse=True)]


def _line_boxes(ax: Axes, progress: ProgressPicture, frame: Bbox) -> Iterator[Bbox]:
    """Yield the running best as thin boxes, horizontal and vertical, in pixels."""
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
    label.set_gid("label")  # gets its halo by CSS, because path effects would turn the text into outlines
    return label


def _within(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)
