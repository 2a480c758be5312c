"""Build the page of a comparison: tables and pictures in the report's style, which need no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from autoresearch.findings.agreement import SharedRow
from autoresearch.findings.compare import Comparison, NightRow, TransferRow
from autoresearch.formats import counted
from autoresearch.report.comparison_charts import agreement_svg, trajectories_svg
from autoresearch.report.comparison_tables import (
    AGREEMENT_LEGEND,
    COSTS,
    VERDICT_COLOURS,
    Cells,
    category_cells,
    constant_cells,
    cost_cells,
    gain_heading,
    headings,
    night_cells,
    outcome_text,
    shared_cells,
    transfer_cells,
)
from autoresearch.report.markup import bullets, document, pictures, section, table, tiles

UNCLEAR = ("null", "no intervals")  # agreements that say nothing
COLOUR_CLASSES = {"green": "good", "red": "bad"}  # of CSS, by the terminal's colour
TRANSFERS = (
    "transfers: kept here too, with its interval above zero. reverses: below. null: neither, which proves nothing."
)


def html(comparison: Comparison, written: datetime | None = None) -> str:
    """Return the page; `written` is the time that it names, by default now."""
    nights = comparison.nights
    parts = [
        _head(comparison),
        section("Before you compare", bullets(comparison.warnings)) if comparison.warnings else "",
        _trajectories(comparison),
        section("The nights", table(headings(nights), [_night(night) for night in nights], "txTNnNNNNn")),
        section("What a run costs", _costs(nights), "Baseline → best."),
        _shared(comparison),
        _transfers(comparison),
        _columns(
            "What gained",
            "category",
            nights,
            [category_cells(row, nights) for row in comparison.categories],
            "Kept of tried, and the sum of the gains of the kept in sigma of one run.",
        ),
        _columns(
            "Where constants ended",
            "constant",
            nights,
            [constant_cells(row) for row in comparison.constants],
            "First → last, for constants that some night moved.",
        ),
    ]
    ids = " · ".join(f"{night.key} {night.id[:16]}" for night in nights)
    return document(f"{counted(len(nights), 'night')} compared", parts, ids, written)


def _head(comparison: Comparison) -> str:
    nights, shared = comparison.nights, comparison.shared
    machines = {night.machine for night in nights}
    title = f"{counted(len(nights), 'night')} on {counted(len(machines), 'machine')}"
    figures = [(str(sum(row.exact for row in shared)), "changes that several tried")]
    figures += [
        (str(sum(row.agreement == agreement for row in shared)), agreement)
        for agreement in ("same direction", "opposite", "null")
    ]
    figures += [(str(sum(night.experiments for night in nights)), "experiments")]
    return f"<header><h1>{escape(title)}</h1></header>\n{tiles(figures)}"


def _trajectories(comparison: Comparison) -> str:
    if not any(night.trajectory for night in comparison.nights):
        return ""
    note = "The best so far against each night's own baseline; the letters are those of the table."
    return section("Trajectories", pictures(lambda size: trajectories_svg(comparison, size)), note)


def _night(night: NightRow) -> Cells:
    """Return the cells of a night as HTML; the date in its label is not broken."""
    key, label, *rest = _html(night_cells(night))
    machine, _, day = label.rpartition(" · ")
    return [key, f'{machine} <span class="whole">· {day}</span>', *rest]


def _costs(nights: Sequence[NightRow]) -> str:
    return table(COSTS, [_html(cost_cells(night)) for night in nights], "tnNnNNTT")


def _shared(comparison: Comparison) -> str:
    shared, nights = comparison.shared, comparison.nights
    if not shared:
        return ""
    measured = any(row.agreement != "no intervals" for row in shared)
    clear = [row for row in shared if row.agreement not in UNCLEAR]
    unclear = [row for row in shared if row.agreement in UNCLEAR]
    body = pictures(lambda size: agreement_svg(shared, nights, size)) if measured else ""
    body += _shared_table(clear, nights) if clear else ""
    if unclear:
        summary = f"{counted(len(unclear), 'change')} without a clear effect on any machine"
        body += f"<details><summary>{summary}</summary>{_shared_table(unclear, nights)}</details>"
    return section("Changes that several tried", body, AGREEMENT_LEGEND)


def _shared_table(rows: Sequence[SharedRow], nights: Sequence[NightRow]) -> str:
    cells = []
    for row in rows:
        change, together, each = map(_coloured, shared_cells(row, nights))
        cells.append([f'{change}<br><span class="note">{together}</span>', each])
    return table(("change, and what they say together", f"{gain_heading(nights)} with its 95% interval"), cells, "bl")


def _coloured(cell: str) -> str:
    """Return a cell as HTML: its lines stay lines, and a verdict has its colour."""
    css, text = COLOUR_CLASSES.get(VERDICT_COLOURS.get(cell, "")), escape(cell).replace("\n", "<br>")
    return f'<span class="{css}">{text}</span>' if css else text


def _transfers(comparison: Comparison) -> str:
    rows = [_transfer(row, comparison.nights) for row in comparison.transfers]
    return section("Transfers", table(("of", "change", "there", "here"), rows, "tbLb"), TRANSFERS) if rows else ""


def _transfer(row: TransferRow, nights: Sequence[NightRow]) -> Cells:
    """Return the cells of a transfer as HTML: a line for each night here, its verdict in its colour."""
    of, change, there, _ = _html(transfer_cells(row, nights))
    here = []
    for night, cell in zip(nights, row.cells, strict=True):
        if cell is not None:
            css = COLOUR_CLASSES.get(VERDICT_COLOURS.get(cell.verdict, ""), "note")
            rest = escape(outcome_text(cell, night.metric).removeprefix(cell.verdict))
            here.append(f'{night.key} <span class="{css}">{escape(cell.verdict)}</span>{rest}')
    return [of, change, there, "<br>".join(here)]


def _columns(title: str, name: str, nights: Sequence[NightRow], rows: Sequence[Cells], note: str) -> str:
    """Return a section with a table that has a column for each night; none without rows."""
    if not rows:
        return ""
    names = [name, *(night.key for night in nights)]
    return section(title, table(names, [_html(cells) for cells in rows], "t" + "n" * len(nights)), note)


def _html(cells: Cells) -> Cells:
    return [escape(cell) for cell in cells]
