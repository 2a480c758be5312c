"""A comparison for a person: tables in the terminal, and one page with pictures that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape as e

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch.findings.agreement import SharedRow, Tried, brief
from autoresearch.findings.compare import CategoryRow, Comparison, ConstantRow, NightRow, Paid, TransferRow
from autoresearch.findings.finding import Effect, TransferOutcome
from autoresearch.report.charts import NARROW, WIDE
from autoresearch.report.comparison_charts import agreement_svg, trajectories_svg
from autoresearch.report.markup import section as _section
from autoresearch.report.markup import signed
from autoresearch.report.markup import table as _table
from autoresearch.report.page import STYLE

DASH = "–"
UNCLEAR = ("null", "no intervals")
TRANSFERS = (
    "transfers: kept here too, with its interval above zero. reverses: below. null: neither, which proves nothing."
)
SHARED_SHOWN, CONSTANTS_SHOWN = 20, 30  # rows in the terminal; the page has all
CELL = 13  # characters of a night's column in the terminal
COLOURS = {"all gain": "green", "transfers": "green", "opposite": "red", "reverses": "red", "differs": "yellow"}
CLASSES = {"green": "good", "red": "bad"}
LEGEND = (
    "all gain, all lose: every interval on one side of zero. opposite: on both sides. null: none excludes zero, which "
    "proves nothing. differs: no value in common. undecided: some exclude zero, some do not."
)
NIGHTS = (
    "",
    "machine",
    "data",
    "budget",
    "kept/tried",
    "crashed",
    "time",
    "σ (bpb)",
    "val_bpb",
    "gain",
)
DESCRIBED = 4  # the first of these, which say what a night is and take a line of their own in the terminal
COSTS = ("", "tokens a second", "MFU %", "peak memory (GB)", "steps", "parameters (M)", "MLX", "OS")

Cells = list[str]


# --- text of cells ----------------------------------------------------------------------------------------------------


def effect_text(effect: Effect | None) -> str:
    """ "+0.0210 [−0.0080, +0.0500]"; without brackets where there is no interval."""
    if effect is None:
        return DASH
    if effect.low_bpb is None or effect.high_bpb is None:
        return f"{signed(effect.gain_bpb)} (no interval)"
    return f"{signed(effect.gain_bpb)} [{signed(effect.low_bpb)}, {signed(effect.high_bpb)}]"


def together(row: SharedRow) -> str:
    """What the nights say of a change, the common direction by its name."""
    if row.agreement != "same direction":
        return row.agreement
    gains = any(cell is not None and cell.effect is not None and cell.effect.direction == 1 for cell in row.cells)
    return "all gain" if gains else "all lose"


def _number(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)


def _pair(first: float | None, last: float | None, form: str) -> str:
    """ "1.6012 → 1.4721"; one figure where both are the same."""
    a, b = _number(first, form), _number(last, form)
    return a if a == b else f"{a} → {b}"


def _duration(hours: float | None) -> str:
    return DASH if hours is None else f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _night(night: NightRow) -> Cells:
    task = night.task
    data = "/".join(str(part) for part in (task["dataset"], task["profile"]) if part) or DASH
    gain = DASH if night.gain_percent is None else f"{night.gain_percent:+.1f}%"
    gain += "" if night.gain_sigma is None else f", {night.gain_sigma:+.1f}σ"
    return [
        night.key,
        night.label,
        data,
        _number(task["budget_s"], "g") + (" s" if task["budget_s"] else ""),
        f"{night.keeps}/{night.experiments}",
        str(night.crashes),
        _duration(night.hours),
        _number(night.sigma_bpb, ".4f"),
        _pair(night.baseline_bpb, night.best_bpb, ".4f"),
        gain.replace("-", "−"),
    ]


def _costs(night: NightRow) -> Cells:
    first, last = night.baseline, night.best

    def scaled(value: float | None, by: float) -> float | None:
        return None if value is None else value / by

    return [
        night.key,
        _pair(first.tok_s, last.tok_s, ",.0f"),
        _pair(first.mfu_percent, last.mfu_percent, ".1f"),
        _pair(scaled(first.peak_memory_mb, 1024), scaled(last.peak_memory_mb, 1024), ".2f"),
        _pair(first.num_steps, last.num_steps, ",d"),
        _pair(scaled(first.num_params, 1e6), scaled(last.num_params, 1e6), ".2f"),
        night.versions.get("mlx", DASH),
        night.machine.rpartition(", ")[2],
    ]


def _constant(cell: tuple[str, str] | None) -> str:
    if cell is None:
        return DASH
    first, last = map(brief, cell)
    return first if cell[0] == cell[1] else f"{first} → {last}"


def _paid(paid: Paid) -> str:
    """ "3/8 +6.1σ": kept of tried, and what the kept gained together."""
    if not paid.tried:
        return DASH
    gain = f"{paid.gain_sigma:+.1f}σ" if paid.gain_sigma is not None else signed(paid.gain_bpb)
    return f"{paid.kept}/{paid.tried}" + (f" {gain.replace('-', '−')}" if paid.kept else "")


def _tried(cell: Tried | None) -> str:
    if cell is None:
        return DASH
    return effect_text(cell.effect) if cell.effect else cell.verdict


def _replayed(row: TransferOutcome) -> str:
    """ "transfers +0.0210 [...]", or "cannot run: SEARCH block 1: ..."."""
    return f"{row.verdict} {effect_text(row.here)}" if row.here else f"{row.verdict}: {row.reason}"[:160]


# --- the terminal -----------------------------------------------------------------------------------------------------


def show(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the tables. Texts from files are shown as they are, never as markup."""
    console = console or Console()
    nights = comparison.nights
    for warning in comparison.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    rows = [_night(night) for night in nights]
    for key, *described in (row[:DESCRIBED] for row in rows):
        console.print(Text(f"{key}  {', '.join(described)}"))
    console.print()
    _print(console, "", ["", *NIGHTS[DESCRIBED:]], [[row[0], *row[DESCRIBED:]] for row in rows])
    _print(console, "What a run takes, baseline → best", COSTS, [_costs(night) for night in nights])
    shown = max(1, (console.width - 24) // CELL)
    keys = [night.key for night in nights][:shown]
    more = f"; {len(nights) - shown} more nights in the page: --html FILE" if len(nights) > shown else ""
    categories = [[row.name, *map(_paid, row.cells[:shown])] for row in comparison.categories]
    _print(console, f"What paid: kept/tried, gain of the keeps in sigma{more}", ["category", *keys], categories)
    moved = [[row.name, *map(_constant, row.cells[:shown])] for row in comparison.constants[:CONSTANTS_SHOWN]]
    _print(console, f"Constants, first → last{more}", ["constant", *keys], moved)
    shared = [_shared_lines(row, nights) for row in comparison.shared[:SHARED_SHOWN]]
    rest = len(comparison.shared) - len(shared)
    title = "Changes that several tried, gain in bpb with its 95% interval" + (
        f" ({rest} more in the page)" if rest > 0 else ""
    )
    _print(console, title, ["change", "together", "each"], shared)
    _print(
        console,
        "Transfers",
        ["of", "change", "there", "here"],
        [_transfer_lines(r, nights) for r in comparison.transfers],
    )
    if shared:
        console.print(Text(LEGEND, style="dim"))


def show_transfers(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the transfer matrix: what a change gained where it was found, and in each night that replayed it."""
    rows = [_transfer_lines(row, comparison.nights) for row in comparison.transfers]
    _print(
        console or Console(), "Transfers, gain in bpb with its 95% interval", ["of", "change", "there", "here"], rows
    )


def _print(console: Console, title: str, names: Sequence[str], rows: Sequence[Cells]) -> None:
    if not rows:
        return
    table = Table(
        box=None, pad_edge=False, title=Text(title) if title else None, title_justify="left", title_style="bold"
    )
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    console.print(table)
    console.print()


def _shared_lines(row: SharedRow, nights: Sequence[NightRow]) -> Cells:
    told = [f"{night.key} {_tried(cell)}" for night, cell in zip(nights, row.cells, strict=True) if cell is not None]
    return [row.change if row.exact else f"{row.change} (any values)", together(row), "\n".join(told)]


def _transfer_lines(row: TransferRow, nights: Sequence[NightRow]) -> Cells:
    told = [f"{night.key} {_replayed(cell)}" for night, cell in zip(nights, row.cells, strict=True) if cell is not None]
    return [row.of, f"#{row.n} {row.title}", effect_text(row.there), "\n".join(told)]


# --- the page ---------------------------------------------------------------------------------------------------------


def html(comparison: Comparison, now: datetime | None = None) -> str:
    """The page, in the report's style."""
    nights = comparison.nights
    parts = [
        _head(comparison),
        _warnings(comparison.warnings),
        _section("Trajectories", _both(lambda size: trajectories_svg(comparison, size)),
                 "The best so far against each night's own baseline; the letters are those of the table.")
        if any(night.trajectory for night in nights) else "",
        _section("The nights", _table(NIGHTS, [_night_html(n) for n in nights], "txTNnNNNNn")),
        _section("What a run takes", _table(COSTS, [_html(_costs(n)) for n in nights], "tnNnNNTT"), "Baseline → best."),
        _shared(comparison),
        _transfers(comparison),
        _categories(comparison.categories, nights),
        _constants(comparison.constants, nights),
    ]  # fmt: skip
    written = now or datetime.now().astimezone()
    ids = " · ".join(f"{night.key} {night.id[:16]}" for night in nights)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{len(nights)} nights compared</title>\n<style>\n{STYLE.read_text()}</style>\n</head>\n<body>\n<main>\n"
        f"{''.join(parts)}<footer>Written {written:%Y-%m-%d %H:%M} by autoresearch-metal. {e(ids)}</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _head(comparison: Comparison) -> str:
    nights = comparison.nights
    machines = list(dict.fromkeys(night.machine for night in nights))
    title = f"{_counted(len(nights), 'night')} on {_counted(len(machines), 'machine')}"
    counts = [(len([row for row in comparison.shared if row.exact]), "changes that several tried")]
    counts += [
        (sum(row.agreement == a for row in comparison.shared), a) for a in ("same direction", "opposite", "null")
    ]
    counts += [(sum(n.experiments for n in nights), "experiments")]
    tiles = "".join(f"<div><b>{count}</b><span>{e(name)}</span></div>" for count, name in counts)
    return f'<header><h1>{e(title)}</h1></header>\n<div class="tiles">{tiles}</div>\n'


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _warnings(warnings: Sequence[str]) -> str:
    lines = "".join(f"<li>{e(line)}</li>" for line in warnings)
    return _section("Before you compare", f'<ul class="plain">{lines}</ul>') if warnings else ""


def _shared(comparison: Comparison) -> str:
    if not comparison.shared:
        return ""
    nights = comparison.nights
    pictures = _both(lambda size: agreement_svg(comparison.shared, nights, size))
    measured = any(row.agreement != "no intervals" for row in comparison.shared)
    clear = [row for row in comparison.shared if row.agreement not in UNCLEAR]
    rest = [row for row in comparison.shared if row.agreement in UNCLEAR]
    body = (pictures if measured else "") + (_shared_table(clear, nights) if clear else "")
    if rest:
        told = _counted(len(rest), "change") + " without a clear effect on any machine"
        body += f"<details><summary>{told}</summary>{_shared_table(rest, nights)}</details>"
    return _section("Changes that several tried", body, LEGEND)


def _shared_table(rows: Sequence[SharedRow], nights: Sequence[NightRow]) -> str:
    cells = []
    for row in rows:
        change, told, each = _cells(_shared_lines(row, nights))
        cells.append([f'{change}<br><span class="note">{told}</span>', each])
    return _table(("change, and what they say together", "gain in bpb with its 95% interval"), cells, "bl")


def _transfers(comparison: Comparison) -> str:
    rows = [_transfer_html(row, comparison.nights) for row in comparison.transfers]
    return _section("Transfers", _table(("of", "change", "there", "here"), rows, "tbLb"), TRANSFERS) if rows else ""


def _transfer_html(row: TransferRow, nights: Sequence[NightRow]) -> Cells:
    """One line a night here, its verdict in its colour."""
    of, change, there, _ = _html(_transfer_lines(row, nights))
    here = []
    for night, cell in zip(nights, row.cells, strict=True):
        if cell is not None:
            colour = CLASSES.get(COLOURS.get(cell.verdict, ""), "note")
            rest = e(_replayed(cell).removeprefix(cell.verdict))
            here.append(f'{night.key} <span class="{colour}">{e(cell.verdict)}</span>{rest}')
    return [of, change, there, "<br>".join(here)]


def _categories(rows: Sequence[CategoryRow], nights: Sequence[NightRow]) -> str:
    cells = [_html([row.name, *map(_paid, row.cells)]) for row in rows]
    table = _table(["category", *(n.key for n in nights)], cells, "t" + "n" * len(nights))
    return (
        _section("What paid", table, "Kept of tried, and the gain of the kept together in sigma of one run.")
        if rows
        else ""
    )


def _constants(rows: Sequence[ConstantRow], nights: Sequence[NightRow]) -> str:
    cells = [_html([row.name, *map(_constant, row.cells)]) for row in rows]
    table = _table(["constant", *(n.key for n in nights)], cells, "t" + "n" * len(nights))
    return _section("Where constants ended", table, "First → last, where some night moved it.") if rows else ""


def _both(draw: Callable[[tuple[float, float]], str]) -> str:
    wide, narrow = draw(WIDE), draw(NARROW)
    return f'<figure class="wide">{wide}</figure><figure class="narrow">{narrow}</figure>'


def _html(cells: Cells) -> Cells:
    return [e(cell) for cell in cells]


def _night_html(night: NightRow) -> Cells:
    """The date of a machine's label stays on one line."""
    key, label, *rest = _html(_night(night))
    machine, _, day = label.rpartition(" · ")
    return [key, f'{machine} <span class="whole">· {day}</span>', *rest]


def _cells(cells: Cells) -> Cells:
    """Lines within a cell stay lines, and verdicts have their colours."""
    told = [e(cell).replace("\n", "<br>") for cell in cells]
    return [f'<span class="{CLASSES[c]}">{text}</span>' if (c := COLOURS.get(cell, "")) in CLASSES else text
            for cell, text in zip(cells, told, strict=True)]  # fmt: skip
