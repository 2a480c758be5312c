"""Draw the live view: a LiveState as a panel of a terminal's width and height. No I/O; console.py and watch.py show it.

Lines are wrapped to the width, so that nothing is cut and the height is known. A low terminal lacks the least important
lines.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.box import ROUNDED
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from autoresearch.decide.early_stop import LossCurve
from autoresearch.formats import VERDICT_STYLES, counted, run_name, span
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.report.live_state import LiveState, ResultRow
from autoresearch.report.markup import shown

SPARKS = "▁▂▃▄▅▆▇█"
LABEL = 11  # columns of the names at the left
WIDEST = 132  # columns
LEARNT = 0.1  # of the budget; the scale of a loss curve leaves out the steep part before it
LEAST_RESULTS = 3  # shown before older results
PROPOSERS_SHOWN = 3
POWER_TEXTS = {"ac": "on mains", "battery": "on battery"}


@dataclass(frozen=True)
class Clocks:
    """The time of a drawing on both clocks."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> Clocks:
        return cls(time.time(), time.monotonic())


@dataclass
class Section:
    """Lines of the panel. An empty line separates the parts: this run, the best, the results, the night.

    Where the terminal is low, sections of the least importance give way first.
    """

    part: str
    importance: int
    lines: list[Text]


def draw(state: LiveState, width: int, height: int = 1000, clocks: Clocks | None = None) -> Panel:
    """Return the panel in at most `width` columns and `height` lines, by default at this moment."""
    clocks, inner = clocks or Clocks.now(), min(width, WIDEST) - 4
    sections = _sections(state, inner, clocks)
    for section in sections:
        section.lines = [part for line in section.lines for part in _wrapped(line, inner)]
    lines = _fit(sections, height - 2)
    title = Text(f"autoresearch/{state.tag}", style="bold") if state.tag else None
    return Panel(
        Group(*lines),
        box=ROUNDED,
        title=title,
        title_align="left",
        subtitle=Text(clock(state, clocks)),
        subtitle_align="right",
        border_style="yellow" if state.paused_at else "dim",
        width=min(width, WIDEST),
    )


def _sections(state: LiveState, inner: int, clocks: Clocks) -> list[Section]:
    """Return the panel's sections from top to bottom."""
    results = [result_line(r, state.metric) for r in reversed(state.results)]
    said = [_named("" if i else "said", line, "dim") for i, line in enumerate(state.said[-3:])]
    return [
        Section("run", 9, _now(state, clocks)),
        Section("run", 4, [Text(state.hypothesis, style="italic")] if state.hypothesis else []),
        Section("run", 8, _run(state, inner, clocks)),
        Section("run", 6, _curves(state, inner)),
        Section("best", 7, _best(state)),
        Section("best", 3, _history(state, inner)),
        Section("results", 2, results[:LEAST_RESULTS]),
        Section("results", 0, results[LEAST_RESULTS:]),
        Section("night", 5, _counts(state, clocks)),
        Section("night", 1, _proposers(state)),
        Section("night", 3, _machine(state)),
        Section("night", 1, said),
    ]


def _wrapped(line: Text, width: int) -> list[Text]:
    """Wrap a line at words; what does not fit stands below it, behind the names at the left."""
    if line.cell_len <= width:
        return [line]
    console, indent = Console(width=width), min(LABEL, width // 3)
    first = line.wrap(console, width)[0]
    rest = line[len(first.plain) :]
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    return [first, *(Text(" " * indent).append_text(part) for part in rest.wrap(console, width - indent))]


def _fit(sections: Sequence[Section], height: int) -> list[Text]:
    """Return at most `height` lines, with empty ones between the parts if only the oldest results must go for them."""
    _cut(sections, height)
    parts = {section.part for section in sections if section.lines}
    breaks, oldest = len(parts) - 1, sum(len(section.lines) for section in sections if section.importance == 0)
    spaced = height - sum(len(section.lines) for section in sections) + oldest >= breaks
    if spaced:
        _cut(sections, height - breaks)
    lines: list[Text] = []
    for _, group in itertools.groupby(sections, key=lambda section: section.part):
        part = [line for section in group for line in section.lines]
        lines += [Text(), *part] if lines and part and spaced else part
    return lines


def _cut(sections: Sequence[Section], height: int) -> None:
    """Remove lines that exceed the height, from the end of the least important sections first."""
    while (over := sum(len(section.lines) for section in sections) - height) > 0:
        least = min((section for section in sections if section.lines), key=lambda section: section.importance)
        del least.lines[max(0, len(least.lines) - over) :]


# --- the present run ------------------------------------------------------------------------------------------------


def _now(state: LiveState, clocks: Clocks) -> list[Text]:
    if state.over is not None:
        return [Text(f"ended: {state.over}", style="bold")]
    if state.phase == "waiting" or not state.phase:
        line = Text().append(state.title, style="bold yellow" if state.paused_at else "bold")
        return [line.append(f"  {span(clocks.monotonic - state.since)}", style="dim")]
    line = Text().append(f"#{state.n} {run_name(state.run)}  ", style="cyan").append(state.title, style="bold")
    who = " · ".join(word for word in (state.category, state.proposer) if word)
    return [line.append(f"  {who}" if who else "", style="dim")]


def _run(state: LiveState, inner: int, clocks: Clocks) -> list[Text]:
    if state.phase in ("", "waiting") or state.over is not None:
        return []
    columns = _bar_columns(inner)
    line = _named(state.phase)
    if state.phase in ("training", "evaluating", "probing"):
        done = int(state.progress * columns)
        line.append("━" * done, style="green").append("━" * (columns - done), style="bright_black")
        line.append(f"  {state.progress:4.0%}")
        if state.phase == "training":
            line.append(f"  {span((1 - state.progress) * state.budget_s)} left", style="dim")
    else:
        line.append(span(clocks.monotonic - state.since), style="dim")
    return [line]


def _bar_columns(inner: int) -> int:
    """Return the columns of a bar or a curve, which leave room for its name and for the figures behind it."""
    return max(10, min(50, inner - LABEL - 34))


def _curves(state: LiveState, inner: int) -> list[Text]:
    """Return this run's loss and the incumbent's below it, at the same progress and on one scale."""
    if not state.curve or state.loss is None:
        return []
    columns = _bar_columns(inner)
    low, high = scale([state.curve, state.incumbent_curve])
    ours = sparkline(state.curve, columns, low, high).ljust(columns)
    lines = [_named("loss").append(ours, style="cyan").append(f"  {state.loss:.4f} at step {state.step}")]
    if state.incumbent_curve:
        theirs = sparkline(state.incumbent_curve, columns, low, high).ljust(columns)
        line = _named("incumbent").append(theirs, style="bright_black")
        here = at(state.incumbent_curve, state.curve[-1][0])
        if here is not None:
            lead = smoothed(state.curve) - here
            side, style = ("below", "green") if lead < 0 else ("above", "yellow")
            line.append(f"  {abs(lead):.4f} {side} it here", style=style)
        lines.append(line)
    return lines


def scale(curves: Sequence[LossCurve]) -> tuple[float, float]:
    """Return the lowest and the highest loss, without the first steps, which would flatten the rest."""
    late = [loss for curve in curves for progress, loss in curve if progress >= LEARNT]
    known = late or [loss for curve in curves for _, loss in curve] or [0.0]
    return min(known), max(known)


def sparkline(curve: LossCurve, columns: int, low: float, high: float) -> str:
    """Draw a column for each slice of the budget up to the last point: its mean loss, or the previous one.

    sparkline([(0.0, 3.0), (0.4, 2.0), (0.9, 1.0)], 3, 1.0, 3.0) -> "█▄▁"
    """
    slices: dict[int, list[float]] = {}
    for progress, loss in curve:
        slices.setdefault(min(columns - 1, int(progress * columns)), []).append(loss)
    text, spark = "", ""
    for i in range(max(slices, default=-1) + 1):
        if i in slices:
            mean = sum(slices[i]) / len(slices[i])
            share = min(max((mean - low) / (high - low), 0.0), 1.0) if high > low else 0.0
            spark = SPARKS[int(share * (len(SPARKS) - 1))]
        text += spark or " "
    return text


def at(curve: LossCurve, progress: float) -> float | None:
    """Return the loss of a curve at `progress`, interpolated between its points; None beyond them."""
    for (p0, a), (p1, b) in itertools.pairwise(curve):
        if p0 <= progress <= p1:
            return a if p1 == p0 else a + (b - a) * (progress - p0) / (p1 - p0)
    return None


def smoothed(curve: LossCurve) -> float:
    """Return the loss at a curve's end: the mean over 5% of the budget, since one batch is noisy."""
    last = curve[-1][0]
    late = [loss for progress, loss in curve if progress >= last - 0.05]
    return sum(late) / len(late)


# --- the night ------------------------------------------------------------------------------------------------------


def _best(state: LiveState) -> list[Text]:
    if state.incumbent_score is None:
        return []
    metric = state.metric
    line = _named("best").append(metric.shown(state.incumbent_score), style="bold green")
    sigma, first = state.sigma_score or 0.0, state.baseline_score
    if first is None or first == state.incumbent_score:
        scatter = f"sigma of one run {metric.size(sigma)}" if sigma else "its runs agree"
        return [line.append(f"  the baseline; {scatter}")]
    gain = first - state.incumbent_score
    sigmas = f" = {gain / sigma:.1f} sigma of one run ({metric.size(sigma)})" if sigma else ""
    lead = f"{metric.shown(first)}  the best is {metric.size(gain)} better{sigmas}"
    return [line.append(f"  #{state.incumbent_n} {state.incumbent_title}"), _named("baseline", lead, "dim")]


def _history(state: LiveState, inner: int) -> list[Text]:
    """Return the running best: its first step and as many of the latest as fit."""
    if len(state.history) < 2:
        return []
    first, *steps = [shown(score, state.metric) + (f" (#{n})" if n else "") for n, score in state.history]
    text = " → ".join([first, *steps])
    while len(text) > inner - LABEL and len(steps) > 1:
        steps = steps[1:]
        text = " → ".join([first, "…", *steps])
    return [_named("history", text, "dim")]


def result_line(result: ResultRow, metric: Metric = VAL_BPB) -> Text:
    """Return a line like "#12 discard  1.410532  −0.8σ  Raise beta2  0.8 sigma worse"."""
    value = metric.shown(result.score) if result.score is not None else "   —    "
    line = Text().append(f"#{result.n:<4d}{result.verdict:8s}{value}  ", style=VERDICT_STYLES[result.verdict])
    sigmas = f"{result.sigmas:+.1f}σ" if result.sigmas is not None else ""
    line.append(sigmas.replace("-", "−").rjust(7) + "  ")
    bold = "bold" if result.verdict == "keep" else ""
    return line.append(result.title, style=bold).append(f"  {result.reason}", style="dim")


def _counts(state: LiveState, clocks: Clocks) -> list[Text]:
    counts = state.counts
    tried = counted(sum(counts.values()), "experiment")
    text = f"{tried}: {counts['keep']} kept, {counts['discard']} no better, {counts['crash']} crashed, in "
    text += span(state.earlier_s + clocks.monotonic - state.started)
    if state.experiments is not None:
        text += f"; {state.decided} of {state.experiments} asked for"
    return [_named("so far", text)]


def _proposers(state: LiveState) -> list[Text]:
    lines = [str(record) for record in state.proposers[:PROPOSERS_SHOWN]]
    return [_named("" if i else "ideas", line, "dim") for i, line in enumerate(lines)]


def _machine(state: LiveState) -> list[Text]:
    at_start = state.machine_state
    speed = state.tok_s or state.incumbent_tok_s
    free = state.memory_mb if state.memory_mb is not None or at_start is None else at_start.free_memory_mb
    parts = [f"{speed:,.0f} tok/s"] if speed else []
    parts += [f"{free / 1024:.1f} GB free"] if free is not None else []
    parts += [f"swap {at_start.swap_mb / 1024:.1f} GB"] if at_start and at_start.swap_mb is not None else []
    parts += [POWER_TEXTS.get(at_start.power or "", "")] if at_start else []
    parts += [state.battery] if state.battery else []
    parts += ["low-power mode"] if at_start and at_start.low_power else []
    parts += [f"heat {at_start.thermal}"] if at_start and at_start.thermal else []
    lines = [_named("machine", " · ".join(part for part in parts if part), "dim")] if speed or at_start else []
    return [*lines, *([_named("", state.machine, "dim")] if state.machine else [])]


def clock(state: LiveState, clocks: Clocks) -> str:
    """Return the time and when the night ends: "23:14 · ends 07:00, in 7 h 46 min"."""
    text = f"{datetime.fromtimestamp(clocks.wall):%H:%M}"
    if state.over is not None:
        return text
    if state.ends_at is not None:
        text += f" · ends {datetime.fromtimestamp(state.ends_at):%H:%M}, in {span(state.ends_at - clocks.wall)}"
        if state.validation_at is not None:
            text += f" · validation from {datetime.fromtimestamp(state.validation_at):%H:%M}"
    elif state.experiments is not None:
        text += f" · ends after {counted(state.experiments, 'experiment')}"
    else:
        text += " · runs until Ctrl-C"
    return text


def _named(name: str, text: str = "", style: str = "") -> Text:
    """Return a line with its name at the left; a longer name moves the text to the right."""
    return Text().append(f"{name.ljust(LABEL - 1)} ", style="dim").append(text, style=style)
