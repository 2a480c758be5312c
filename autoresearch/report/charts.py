"""Draw the report's pictures of the machine's night and of the training losses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import matplotlib.dates
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autoresearch.records import MachineState
from autoresearch.report.figures import INK, Axes, Colours, figure_of, settings, style, svg
from autoresearch.report.machine_night import RunSpeed
from autoresearch.report.markup import WIDE, Size

SHORT_S = 1800.0  # nights below this show seconds on the clock
GB_PER_MB = 1 / 1024
LINE: dict[str, Any] = {"linewidth": 1.2}
DOTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0}

dates: Any = matplotlib.dates  # its type hints do not know dates on an axis


def machine_svg(states: Sequence[MachineState], speeds: Sequence[RunSpeed], size: Size = WIDE) -> str:
    """Draw throughput, the machine's own speed, memory and battery by the clock; heat and battery power are shades."""
    with settings("machine", size):
        return svg(_machine(states, speeds, size[0], INK))


def losses_svg(curves: Mapping[str, Sequence[tuple[float, float]]], size: Size = WIDE) -> str:
    """Draw the training loss (nats a token) by used budget, a line for each name; the last one is emphasised."""
    with settings("losses", size):
        figure, ax = figure_of((size[0], 2.9), INK)
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
        return svg(figure)


# --- the machine ----------------------------------------------------------------------------------------------------


def _machine(states: Sequence[MachineState], speeds: Sequence[RunSpeed], width: float, colours: Colours) -> Figure:
    panels: list[Callable[[Axes, Sequence[MachineState], Sequence[RunSpeed], Colours], None]] = [_throughput]
    panels += [_speed] if any(s.relative for s in speeds) else []
    panels += [_memory] if states else []
    panels += [_battery] if any(s.battery_percent is not None for s in states) else []
    figure = Figure(figsize=(width, 0.5 + 1.25 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        style(ax, colours)
        _shades(ax, states, colours)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=3))
        panel(ax, states, speeds, colours)
    times = [s.t for s in speeds] or [0.0]
    short = max(times) - min(times) < SHORT_S
    axes[-1].xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes[-1].xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S" if short else "%H:%M"))
    return figure


def _throughput(ax: Axes, states: Sequence[MachineState], speeds: Sequence[RunSpeed], colours: Colours) -> None:
    _series(ax, [(s.t, s.tok_s) for s in speeds], colours["muted"], "thousand tokens/s", 1e-3)


def _speed(ax: Axes, states: Sequence[MachineState], speeds: Sequence[RunSpeed], colours: Colours) -> None:
    _series(ax, [(s.t, s.relative) for s in speeds], colours["keep"], "machine speed", line=True)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.94), max(high, 1.06))


def _memory(ax: Axes, states: Sequence[MachineState], speeds: Sequence[RunSpeed], colours: Colours) -> None:
    _series(ax, [(s.wall, s.free_memory_mb) for s in states], colours["cool"], "free", GB_PER_MB, line=True)
    _series(ax, [(s.wall, s.swap_mb) for s in states], colours["crash"], "swap", GB_PER_MB, line=True)
    _series(ax, [(s.t, s.peak_memory_mb) for s in speeds], colours["muted"], "a run's peak", GB_PER_MB)
    ax.set_ylabel("memory (GB)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, ncols=3, labelcolor=colours["muted"], fontsize=8, loc="best", handlelength=1.2)


def _battery(ax: Axes, states: Sequence[MachineState], speeds: Sequence[RunSpeed], colours: Colours) -> None:
    _series(ax, [(s.wall, s.battery_percent) for s in states], colours["warm"], "battery (%)", line=True)
    ax.set_ylim(0, 105)


def _series(
    ax: Axes,
    pairs: Sequence[tuple[float, float | None]],
    colour: str,
    label: str,
    scale: float = 1.0,
    line: bool = False,
) -> None:
    """Draw (POSIX seconds, value) pairs over the clock, as dots or as a line; None is not drawn."""
    known = [(datetime.fromtimestamp(t), v * scale) for t, v in sorted(pairs, key=lambda p: p[0]) if v is not None]
    if not known:
        return
    x, y = zip(*known, strict=True)
    look = LINE if line else DOTS
    ax.plot(x, y, color=colour, label=label, **look)
    ax.set_ylabel(label)


def _shades(ax: Axes, states: Sequence[MachineState], colours: Colours) -> None:
    """Shade the times of heat and of battery power behind the curves."""
    hot = [s.thermal not in (None, "nominal") for s in states]
    for start, end in _spans(states, hot):
        ax.axvspan(start, end, color=colours["crash"], alpha=0.10, linewidth=0)
    for start, end in _spans(states, [s.power == "battery" for s in states]):
        ax.axvspan(start, end, color=colours["warm"], alpha=0.10, linewidth=0)


def _spans(states: Sequence[MachineState], marked: Sequence[bool]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the times in which neighbouring states are marked, each to the state after its last one."""
    for mark, group in itertools.groupby(range(len(states)), key=lambda i: marked[i]):
        if mark:
            indices = list(group)
            end = states[min(indices[-1] + 1, len(states) - 1)].wall
            yield datetime.fromtimestamp(states[indices[0]].wall), datetime.fromtimestamp(end)
