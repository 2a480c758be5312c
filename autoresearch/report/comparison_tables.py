"""Write a comparison as text: the cells of its tables, which the page shows too, and the tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch.findings.agreement import Attempt, SharedRow, brief
from autoresearch.findings.compare import (
    CategoryResult,
    CategoryRow,
    Comparison,
    ConstantRow,
    Ends,
    NightRow,
    TransferRow,
)
from autoresearch.findings.finding import Effect, TransferOutcome
from autoresearch.formats import counted, shortened, span
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.report.markup import DASH, number, shown, shown_size, signed

SHARED_SHOWN, CONSTANTS_SHOWN = 20, 30  # rows in the terminal; the page has all
NIGHT_WIDTH, NAMES_WIDTH = 13, 24  # characters of a night's column in the terminal, and of the column of names
CANNOT_RUN = 160  # characters of why a change cannot run
GAP = 2  # blanks between two columns
VERDICT_COLOURS = {"all gain": "green", "transfers": "green", "opposite": "red", "reverses": "red", "differs": "yellow"}
AGREEMENT_LEGEND = (
    "all gain, all lose: every interval on one side of zero. opposite: on both sides. null: none excludes zero, which "
    "proves nothing. differs: no value in common. undecided: some exclude zero, some do not."
)
NIGHTS = ("", "machine", "data", "budget", "kept/tried", "crashed", "time", "σ (bpb)", "val_bpb", "gain")
DESCRIBED = 4  # the first of these, which say what a night is and take a line of their own in the terminal
COSTS = ("", "tokens a second", "MFU %", "peak memory (GB)", "steps", "parameters (M)", "MLX", "OS")

Cells = list[str]


# --- text of cells ----------------------------------------------------------------------------------------------------


def effect_text(effect: Effect | None, metric: Metric = VAL_BPB) -> str:
    """Return "+0.0210 [−0.0080, +0.0500]", or "+0.0210 (no interval)"."""
    if effect is None:
        return DASH
    gain = signed(effect.gain_score, metric)
    if effect.low_score is None or effect.high_score is None:
        return f"{gain} (no interval)"
    return f"{gain} [{signed(effect.low_score, metric)}, {signed(effect.high_score, metric)}]"


def together(row: SharedRow) -> str:
    """Return what the nights say of a change together; a common direction is "all gain" or "all lose"."""
    if row.agreement != "same direction":
        return row.agreement
    gains = any(cell is not None and cell.effect is not None and cell.effect.direction == 1 for cell in row.cells)
    return "all gain" if gains else "all lose"


def headings(nights: Sequence[NightRow]) -> Cells:
    """Return NIGHTS, without val_bpb and its unit where a night is judged by another number."""
    if all(night.metric == VAL_BPB for night in nights):
        return list(NIGHTS)
    return ["σ" if name == NIGHTS[-3] else "value" if name == NIGHTS[-2] else name for name in NIGHTS]


def gain_heading(nights: Sequence[NightRow]) -> str:
    """Return "gain in bpb", and "gain" where a night is judged by another number."""
    return "gain in bpb" if all(night.metric == VAL_BPB for night in nights) else "gain"


def night_cells(night: NightRow) -> Cells:
    """Return the cells of a night under NIGHTS."""
    task = night.task
    data = "/".join(str(part) for part in (task["dataset"], task["profile"]) if part) or DASH
    gain = DASH if night.gain_percent is None else f"{night.gain_percent:+.1f}%"
    gain += "" if night.gain_sigma is None else f", {night.gain_sigma:+.1f}σ"
    gain = gain if night.keeps or night.gain_percent is None else "none"
    return [
        night.key,
        night.label,
        data,
        number(task["budget_s"], "g") + (" s" if task["budget_s"] else ""),
        f"{night.keeps}/{night.experiments}",
        str(night.crashes),
        DASH if night.hours is None else span(3600 * night.hours),
        DASH if night.sigma_score is None else shown_size(night.sigma_score, night.metric),
        _shown(night),
        gain.replace("-", "−"),
    ]


def _shown(night: NightRow) -> str:
    """Return the baseline's and the best value, with the metric's name where it is not val_bpb."""
    a, b = (shown(score, night.metric) for score in (night.baseline_score, night.best_score))
    name = "" if night.metric == VAL_BPB else f"{night.metric.name} "
    return f"{name}{a}" if a == b else f"{name}{a} → {b}"


def cost_cells(night: NightRow) -> Cells:
    """Return the cells of a night under COSTS, each "baseline → best"."""
    first, last = night.baseline, night.best
    return [
        night.key,
        _pair(first.tok_s, last.tok_s, ",.0f"),
        _pair(first.mfu_percent, last.mfu_percent, ".1f"),
        _pair(_divided(first.peak_memory_mb, 1024), _divided(last.peak_memory_mb, 1024), ".2f"),
        _pair(first.num_steps, last.num_steps, ",d"),
        _pair(_divided(first.num_params, 1e6), _divided(last.num_params, 1e6), ".2f"),
        night.versions.get("mlx", DASH),
        night.machine.rpartition(", ")[2],
    ]


def category_cells(row: CategoryRow, nights: Sequence[NightRow]) -> Cells:
    """Return a category and its cells in the nights, or in the first ones."""
    return [row.name, *(_category(cell, night.metric) for cell, night in zip(row.cells, nights, strict=False))]


def constant_cells(row: ConstantRow, nights: int | None = None) -> Cells:
    """Return a constant and its cells in the first `nights` nights, each "first → last"."""
    return [row.name, *map(_constant, row.cells[:nights])]


def shared_cells(row: SharedRow, nights: Sequence[NightRow]) -> Cells:
    """Return a change that several nights tried, what they say together, and a line for each of them."""
    each = [
        f"{night.key} {_attempt(cell, night.metric)}"
        for night, cell in zip(nights, row.cells, strict=True)
        if cell is not None
    ]
    change = row.change if row.exact else f"{row.change} (any values)"
    return [change, together(row), "\n".join([*each, *ledger_lines(row, nights)])]


def ledger_lines(row: SharedRow, nights: Sequence[NightRow]) -> list[str]:
    """Return what became of the earliest clear effect: ["A's claim on Apple M1, 8 GPU cores, 8 GB: 1 null"]."""
    if row.claim is None:
        return []
    lines = []
    for count in row.ledger:
        parts = ((count.transfers, "transfer"), (count.nulls, "null"), (count.reversals, "reversal"))
        told = ", ".join(counted(number, noun) for number, noun in parts if number)
        lines.append(f"{nights[row.claim].key}'s claim on {count.machine}: {told}")
    return lines


def transfer_cells(row: TransferRow, nights: Sequence[NightRow]) -> Cells:
    """Return the night that found a change, the change, its effect there, and a line for each night here."""
    here = [
        f"{night.key} {outcome_text(cell, night.metric)}"
        for night, cell in zip(nights, row.cells, strict=True)
        if cell is not None
    ]
    change = row.title if row.n is None else f"#{row.n} {row.title}"
    metric = next((night.metric for night, cell in zip(nights, row.cells, strict=True) if cell is not None), VAL_BPB)
    return [row.of, change, effect_text(row.there, metric), "\n".join(here)]


def outcome_text(outcome: TransferOutcome, metric: Metric = VAL_BPB) -> str:
    """Return "transfers +0.0210 [...]", or "cannot run: SEARCH block 1: ..."."""
    if outcome.here is not None:
        return f"{outcome.verdict} {effect_text(outcome.here, metric)}"
    return shortened(f"{outcome.verdict}: {outcome.reason}", CANNOT_RUN)


def _pair(first: float | None, last: float | None, form: str) -> str:
    """Write two figures: _pair(1.6012, 1.4721, ".4f") -> "1.6012 → 1.4721"; one where both are the same."""
    a, b = number(first, form), number(last, form)
    return a if a == b else f"{a} → {b}"


def _divided(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _constant(ends: Ends | None) -> str:
    if ends is None:
        return DASH
    first, last = map(brief, ends)
    return first if ends.first == ends.last else f"{first} → {last}"


def _category(result: CategoryResult, metric: Metric) -> str:
    """Return "3/8 +6.1σ": kept of tried, and the sum of the gains of the keeps."""
    if not result.tried:
        return DASH
    gain = f"{result.gain_sigma:+.1f}σ" if result.gain_sigma is not None else signed(result.gain_score, metric)
    return f"{result.kept}/{result.tried}" + (f" {gain.replace('-', '−')}" if result.kept else "")


def _attempt(cell: Attempt, metric: Metric) -> str:
    return effect_text(cell.effect, metric) if cell.effect else cell.verdict


# --- the terminal -----------------------------------------------------------------------------------------------------


def show(comparison: Comparison, console: Console | None = None) -> None:
    """Print the tables. Texts from files are shown as they are, never as markup."""
    console = console or Console()
    nights = comparison.nights
    for warning in comparison.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    rows = [night_cells(night) for night in nights]
    for key, *described in (row[:DESCRIBED] for row in rows):
        console.print(Text(f"{key}  {', '.join(described)}"))
    console.print()
    _print(console, "", ["", *headings(nights)[DESCRIBED:]], [[row[0], *row[DESCRIBED:]] for row in rows])
    _print(console, "What a run costs, baseline → best", COSTS, [cost_cells(night) for night in nights])
    _show_columns(comparison, console)
    shared = [shared_cells(row, nights) for row in comparison.shared[:SHARED_SHOWN]]
    rest = len(comparison.shared) - len(shared)
    more = f" ({rest} more in the page)" if rest > 0 else ""
    title = f"Changes that several nights tried, {gain_heading(nights)} with its 95% interval{more}"
    _print(console, title, ["change", "together", "each"], shared)
    _show_transfers(comparison, console, "Transfers")
    if shared:
        console.print(Text(AGREEMENT_LEGEND, style="dim"))


def _show_columns(comparison: Comparison, console: Console) -> None:
    """Print the tables with a column for each night, as many nights as the terminal is wide."""
    nights = comparison.nights
    fitting = max(1, (console.width - NAMES_WIDTH) // NIGHT_WIDTH)
    keys = [night.key for night in nights][:fitting]
    more = f"; {counted(len(nights) - fitting, 'more night')} in the page: --html FILE" if len(nights) > fitting else ""
    categories = [category_cells(row, nights[:fitting]) for row in comparison.categories]
    unit = " in sigma" if all(night.sigma_score for night in nights) else ""
    _print(console, f"What gained: kept/tried, gain of the keeps{unit}{more}", ["category", *keys], categories)
    moved = [constant_cells(row, fitting) for row in comparison.constants[:CONSTANTS_SHOWN]]
    _print(console, f"Constants, first → last{more}", ["constant", *keys], moved)


def show_transfers(comparison: Comparison, console: Console | None = None) -> None:
    """Print what each change gained where it was found, and in each night that replayed it."""
    title = f"Transfers, {gain_heading(comparison.nights)} with its 95% interval"
    _show_transfers(comparison, console or Console(), title)


def _show_transfers(comparison: Comparison, console: Console, title: str) -> None:
    rows = [transfer_cells(row, comparison.nights) for row in comparison.transfers]
    _print(console, title, ["of", "change", "there", "here"], rows)


def _print(console: Console, title: str, names: Sequence[str], rows: Sequence[Cells]) -> None:
    if not rows:
        return
    if title:
        console.print(Text(title, style="bold"))
    widths = column_widths([names, *rows], console.width)
    if widths is None:
        for first, *cells in rows:
            figures = [f"{name} {cell}".strip() for name, cell in zip(names[1:], cells, strict=True) if cell]
            console.print(Text(f"{first}: {', '.join(figures)}"))
    else:
        table = Table(box=None, padding=(0, GAP, 0, 0))
        for name, width in zip(names, widths, strict=True):
            table.add_column(Text(name), overflow="fold", width=width)
        for row in rows:
            table.add_row(*(Text(cell, style=VERDICT_COLOURS.get(cell, "")) for cell in row))
        console.print(table)
    console.print()


def column_widths(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return the widths of a table's columns in `room`, wrapped at words only; None where a word would be broken.

    column_widths([("of", "gain"), ("A", "+0.1 bpb")], 20) -> [2, 8], and in 10 columns -> [2, 4]
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(len(line) for cell in column for line in (cell or " ").split("\n")) for column in columns]
    least = [max((len(word) for cell in column for word in cell.split()), default=1) for column in columns]
    while sum(widths) + GAP * len(widths) > room:
        spare, i = max((width - low, i) for i, (width, low) in enumerate(zip(widths, least, strict=True)))
        if not spare:
            return None
        widths[i] -= 1
    return widths
