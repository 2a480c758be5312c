"""The live view's panel: a LiveState as lines of a terminal's width and height. Pure; view.py and watch.py show it.

Every line is cut to the width, so that the height is known: what matters least is left out of a low terminal.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.box import ROUNDED
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from autoresearch.formats import span
from autoresearch.records import Verdict
from autoresearch.report.live_state import Curve, LiveState, Result, Share

SPARKS = "▁▂▃▄▅▆▇█"
STYLES: Mapping[Verdict, str] = {"keep": "bold green", "discard": "dim", "crash": "red"}
LABEL = 11  # columns of the names at the left
WIDEST = 132
LEARNT = 0.1  # of the budget after which a loss curve says something; what is above it fills the scale
LEAST_RESULTS = 3
PARTS = ((0, 4), (4, 6), (6, 8), (8, 12))  # of the sections: this run, the best, the results, the night
POWER = {"ac": "on mains", "battery": "on battery"}


@dataclass(frozen=True)
class Moment:
    """The clocks that a drawing is made by."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.time(), time.monotonic())


def draw(state: LiveState, width: int, height: int = 1000, moment: Moment | None = None) -> Panel:
    """The night at this moment in at most `width` columns and `height` lines."""
    moment, inner = moment or Moment.now(), min(width, WIDEST) - 4
    lines = _fit(_sections(state, inner, moment), height - 2)
    for line in lines:
        line.truncate(inner, overflow="ellipsis")
    title = Text(f"autoresearch/{state.tag}", style="bold") if state.tag else None
    return Panel(
        Group(*lines),
        box=ROUNDED,
        title=title,
        title_align="left",
        subtitle=Text(clock(state, moment)),
        subtitle_align="right",
        border_style="yellow" if state.paused_at else "dim",
        width=min(width, WIDEST),
    )


def _sections(state: LiveState, inner: int, moment: Moment) -> list[tuple[int, list[Text]]]:
    """(importance, lines) from top to bottom; the least important go first where the terminal is low."""
    results = [result_line(r) for r in reversed(state.results)]
    return [
        (9, _now(state, moment)),
        (4, [Text(state.hypothesis, style="italic")] if state.hypothesis else []),
        (8, _run(state, inner, moment)),
        (6, _curves(state, inner)),
        (7, _standing(state)),
        (3, _history(state, inner)),
        (2, results[:LEAST_RESULTS]),
        (0, results[LEAST_RESULTS:]),
        (5, _tally(state, moment)),
        (1, _shares(state)),
        (3, _machine(state)),
        (1, [_named("" if i else "said", line, "dim") for i, line in enumerate(state.said[-3:])]),
    ]


def _fit(sections: Sequence[tuple[int, list[Text]]], height: int) -> list[Text]:
    """At most `height` lines, with an empty one between the parts where only the oldest results make way for it."""
    kept = [(importance, list(lines)) for importance, lines in sections]
    _cut(kept, height)
    breaks = sum(any(lines for _, lines in kept[i:j]) for i, j in PARTS) - 1
    oldest = sum(len(lines) for importance, lines in kept if importance == 0)
    spaced = height - sum(len(lines) for _, lines in kept) + oldest >= breaks
    if spaced:
        _cut(kept, height - breaks)
    joined: list[Text] = []
    for i, j in PARTS:
        part = [line for _, lines in kept[i:j] for line in lines]
        joined += [Text(), *part] if joined and part and spaced else part
    return joined


def _cut(sections: Sequence[tuple[int, list[Text]]], height: int) -> None:
    """Takes lines away, from the end of the least important sections first."""
    while (over := sum(len(lines) for _, lines in sections) - height) > 0:
        _, lines = min((entry for entry in sections if entry[1]), key=lambda entry: entry[0])
        del lines[max(0, len(lines) - over) :]


# --- the present run ------------------------------------------------------------------------------------------------


def _now(state: LiveState, moment: Moment) -> list[Text]:
    if state.over is not None:
        return [Text(f"ended: {state.over}", style="bold")]
    if state.phase == "waiting" or not state.phase:
        line = Text().append(state.title, style="bold yellow" if state.paused_at else "bold")
        return [line.append(f"  {span(moment.monotonic - state.since)}", style="dim")]
    line = Text().append(f"#{state.n} run {state.run + 1}  ", style="cyan").append(state.title, style="bold")
    who = " · ".join(word for word in (state.category, state.proposer) if word)
    return [line.append(f"  {who}" if who else "", style="dim")]


def _run(state: LiveState, inner: int, moment: Moment) -> list[Text]:
    if state.phase in ("", "waiting") or state.over is not None:
        return []
    columns = max(10, min(50, inner - LABEL - 34))
    line = _named(state.phase)
    if state.phase in ("training", "evaluating"):
        done = int(state.progress * columns)
        line.append("━" * done, style="green").append("━" * (columns - done), style="bright_black")
        line.append(f"  {state.progress:4.0%}")
        if state.phase == "training":
            line.append(f"  {span((1 - state.progress) * state.budget_s)} left", style="dim")
    else:
        line.append(span(moment.monotonic - state.since), style="dim")
    return [line]


def _curves(state: LiveState, inner: int) -> list[Text]:
    """This run's loss above the incumbent's at the same progress, on one scale."""
    if not state.curve or state.loss is None:
        return []
    columns = max(10, min(50, inner - LABEL - 34))
    low, high = scale([state.curve, state.incumbent_curve])
    ours = sparkline(state.curve, columns, low, high).ljust(columns)
    line = _named("loss").append(ours, style="cyan").append(f"  {state.loss:.4f} at step {state.step}")
    lines = [line]
    if state.incumbent_curve:
        theirs = sparkline(state.incumbent_curve, columns, low, high).ljust(columns)
        dim = _named("incumbent").append(theirs, style="bright_black")
        here = at(state.incumbent_curve, state.curve[-1][0])
        if here is not None:
            lead = smoothed(state.curve) - here
            side, style = ("below", "green") if lead < 0 else ("above", "yellow")
            dim.append(f"  {abs(lead):.4f} {side} it here", style=style)
        lines.append(dim)
    return lines


def scale(curves: Sequence[Curve]) -> tuple[float, float]:
    """From the least loss to the largest after the first steps, which would flatten all the rest."""
    late = [loss for curve in curves for progress, loss in curve if progress >= LEARNT]
    known = late or [loss for curve in curves for _, loss in curve] or [0.0]
    return min(known), max(known)


def sparkline(curve: Curve, columns: int, low: float, high: float) -> str:
    """A column for each slice of the budget, up to the last point: the mean loss there, or the one before.

    sparkline([(0.0, 3.0), (0.4, 2.0), (0.9, 1.0)], 3, 1.0, 3.0) -> "█▄▁"
    """
    slices: dict[int, list[float]] = {}
    for progress, loss in curve:
        slices.setdefault(min(columns - 1, int(progress * columns)), []).append(loss)
    height = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    text, spark = "", ""
    for i in range(max(slices, default=-1) + 1):
        if i in slices:
            mean = sum(slices[i]) / len(slices[i])
            spark = SPARKS[int(min(max(mean - low, 0.0), high - low) * height)]
        text += spark or " "
    return text


def at(curve: Curve, progress: float) -> float | None:
    """The loss of a curve at `progress`, between its points; None beyond them."""
    for (p0, a), (p1, b) in itertools.pairwise(curve):
        if p0 <= progress <= p1:
            return a if p1 == p0 else a + (b - a) * (progress - p0) / (p1 - p0)
    return None


def smoothed(curve: Curve) -> float:
    """The loss at a curve's end: the mean of the last twentieth, since one batch says little."""
    last = curve[-1][0]
    late = [loss for progress, loss in curve if progress >= last - 0.05]
    return sum(late) / len(late)


# --- the night ------------------------------------------------------------------------------------------------------


def _standing(state: LiveState) -> list[Text]:
    if state.incumbent_bpb is None:
        return []
    line = _named("best").append(f"{state.incumbent_bpb:.6f}", style="bold green")
    sigma, first = state.sigma_bpb or 0.0, state.baseline_bpb
    if first is None or first == state.incumbent_bpb:
        return [line.append(f"  the baseline; sigma of one run {sigma:.4f}")]
    gain = first - state.incumbent_bpb
    sigmas = f" = {gain / sigma:.1f} sigma of one run ({sigma:.4f})" if sigma else ""
    lead = f"{first:.6f}  the best is {gain:.4f} better{sigmas}"
    return [line.append(f"  #{state.incumbent_n} {state.incumbent_title}"), _named("baseline", lead, "dim")]


def _history(state: LiveState, inner: int) -> list[Text]:
    """The running best, the latest steps of it."""
    if len(state.history) < 2:
        return []
    first, *steps = [f"{bpb:.4f}" + (f" (#{n})" if n else "") for n, bpb in state.history]
    text = " → ".join([first, *steps])
    while len(text) > inner - LABEL and len(steps) > 1:
        steps = steps[1:]
        text = " → ".join([first, "…", *steps])
    return [_named("history", text, "dim")]


def result_line(result: Result) -> Text:
    """`#12 discard  1.410532  −0.8σ  Raise beta2  0.8 sigma worse`"""
    value = f"{result.val_bpb:.6f}" if result.val_bpb is not None else "   —    "
    line = Text().append(f"#{result.n:<4d}{result.verdict:8s}{value}  ", style=STYLES[result.verdict])
    sigmas = f"{result.sigmas:+.1f}σ" if result.sigmas is not None else ""
    line.append(sigmas.replace("-", "−").rjust(7) + "  ")
    bold = "bold" if result.verdict == "keep" else ""
    return line.append(result.title, style=bold).append(f"  {result.reason}", style="dim")


def _tally(state: LiveState, moment: Moment) -> list[Text]:
    counts = state.counts
    tried = sum(counts.values())
    hours = span(state.earlier_s + moment.monotonic - state.started)
    text = f"{tried} experiment{'' if tried == 1 else 's'}: {counts['keep']} kept, {counts['discard']} no better, "
    text += f"{counts['crash']} crashed, in {hours}"
    if state.experiments is not None:
        text += f"; {state.decided} of {state.experiments} asked for"
    return [_named("so far", text)]


def _shares(state: LiveState) -> list[Text]:
    total = sum(share.tried for share in state.shares)
    return [_named("ideas" if i == 0 else "", _share(share, total), "dim") for i, share in enumerate(state.shares[:3])]


def _share(share: Share, total: int) -> str:
    parts = [f"{share.name}: {share.tried} tried ({share.tried / total:.0%})" if total else f"{share.name}:"]
    parts += [f"{share.kept} kept" + (f", {share.gain_bpb:.4f} bpb" if share.kept else "")]
    parts += [f"{share.crashed} crashed"] if share.crashed else []
    parts += [f"{share.empty_turns} empty turns"] if share.empty_turns else []
    parts += [f"{share.idea_s:.0f} s an idea"] if share.idea_s is not None and share.idea_s >= 1 else []
    return ", ".join(parts)


def _machine(state: LiveState) -> list[Text]:
    at_start = state.machine_state
    speed = state.tok_s or state.incumbent_tok_s
    free = state.memory_mb if state.memory_mb is not None or at_start is None else at_start.free_memory_mb
    parts = [f"{speed:,.0f} tok/s"] if speed else []
    parts += [f"{free / 1024:.1f} GB free"] if free is not None else []
    parts += [f"swap {at_start.swap_mb / 1024:.1f} GB"] if at_start and at_start.swap_mb is not None else []
    parts += [POWER.get(at_start.power or "", "")] if at_start else []
    parts += [state.battery] if state.battery else []
    parts += ["low-power mode"] if at_start and at_start.low_power else []
    parts += [f"heat {at_start.thermal}"] if at_start and at_start.thermal else []
    lines = [_named("machine", " · ".join(part for part in parts if part), "dim")] if speed or at_start else []
    return [*lines, *([_named("", state.machine, "dim")] if state.machine else [])]


def clock(state: LiveState, moment: Moment) -> str:
    """`23:14 · ends 07:00, in 7 h 46 min`"""
    text = f"{datetime.fromtimestamp(moment.wall):%H:%M}"
    if state.over is not None:
        return text
    if state.ends_at is not None:
        text += f" · ends {datetime.fromtimestamp(state.ends_at):%H:%M}, in {span(state.ends_at - moment.wall)}"
        if state.validation_at is not None:
            text += f" · validation from {datetime.fromtimestamp(state.validation_at):%H:%M}"
    elif state.experiments is not None:
        text += f" · ends after {state.experiments} experiments"
    else:
        text += " · runs until Ctrl-C"
    return text


def _named(name: str, text: str = "", style: str = "") -> Text:
    """A line with its name at the left; longer names push the text."""
    return Text().append(f"{name.ljust(LABEL - 1)} ", style="dim").append(text, style=style)
