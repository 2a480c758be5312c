"""Build the HTML that all pages share: the document, sections, tables, tiles, pictures.

The functions return HTML. They escape the plain texts that they take and leave the HTML as it is, where they say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path

from autoresearch.metrics import VAL_BPB, Metric

STYLE = Path(__file__).with_name("report.css")
WIDE, NARROW = (9.6, 4.3), (3.9, 3.9)  # inches at 72 units each: pictures for a desktop column and for a phone
DASH = "–"  # for a figure that is not known
COLUMN_CLASSES = {  # of a table's columns, by their letter
    "t": "",
    "x": ' class="text"',
    "n": ' class="num"',
    "T": ' class="wide"',
    "N": ' class="num wide"',
    "b": ' class="block"',
    "l": ' class="lines"',
    "L": ' class="lines wide"',
}

Size = tuple[float, float]


def document(
    title: str, parts: Sequence[str], footer: str, written: datetime | None = None, refresh_s: int | None = None
) -> str:
    """Return a page. `parts` are HTML; the footer says when the page was written (by default now) and `footer`.

    A browser loads the page again every `refresh_s` seconds, where that is given.
    """
    written = written or datetime.now().astimezone()
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">\n' if refresh_s else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{refresh}<title>{escape(title)}</title>\n<style>\n{STYLE.read_text('utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f"{''.join(parts)}<footer>Written {written:%Y-%m-%d %H:%M} by autoresearch-metal. {escape(footer)}</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str, note: str = "") -> str:
    """Return a section; `body` is HTML."""
    small = f'<p class="note">{escape(note)}</p>\n' if note else ""
    return f"<section><h2>{escape(title)}</h2>\n{small}{body}</section>\n"


def table(names: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, ids: Sequence[str] = ()) -> str:
    """Return a table; the cells are HTML, and `kinds` has a letter for each column.

    t: text, x: long text, l: lines that are not broken, n: numbers. The cells of b and l stand one below the other on a
    phone, and columns with a capital letter are left out there.
    """
    classes = [COLUMN_CLASSES[kind] for kind in kinds]
    head = "".join(f"<th{c}>{escape(name)}</th>" for name, c in zip(names, classes, strict=False))
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td{c}>{cell}</td>" for cell, c in zip(row, classes, strict=False))
        body.append(f'<tr id="{ids[i]}">{cells}</tr>' if ids else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>\n{"".join(body)}</table></div>'


def bullets(lines: Sequence[str]) -> str:
    """Return a list of plain texts."""
    return f'<ul class="plain">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def tiles(figures: Sequence[tuple[str, str]]) -> str:
    """Return large figures in a row, each with its name: tiles([("12", "experiments")])."""
    cells = "".join(f"<div><b>{escape(figure)}</b><span>{escape(name)}</span></div>" for figure, name in figures)
    return f'<div class="tiles">{cells}</div>\n'


def pictures(draw: Callable[[Size], str]) -> str:
    """Return a picture in two sizes, of which the page shows the one that fits; `draw(size)` returns it as SVG."""
    return f'<figure class="wide">{draw(WIDE)}</figure><figure class="narrow">{draw(NARROW)}</figure>'


def _on_page(metric: Metric) -> Metric:
    """Return a metric as pages write it: val_bpb has four decimals, and its unit stands in the heading."""
    return replace(metric, unit="", decimals=4) if metric == VAL_BPB else metric


def signed(gain: float | None, metric: Metric = VAL_BPB) -> str:
    """Write a gain in scores with its sign: signed(-0.0123) -> "−0.0123"; a dash for a gain that is not known."""
    return DASH if gain is None else _on_page(metric).signed(gain).replace("-", "−")


def shown(score: float | None, metric: Metric = VAL_BPB) -> str:
    """Write a score as its value: shown(1.60123) -> "1.6012"; a dash for a score that is not known."""
    return DASH if score is None else _on_page(metric).shown(score)


def shown_size(difference: float, metric: Metric = VAL_BPB) -> str:
    """Write the size of a difference of scores: shown_size(-0.0123) -> "0.0123"."""
    return _on_page(metric).size(difference)


def number(value: float | None, form: str) -> str:
    """Write a figure: number(1.6012, ".2f") -> "1.60"; a dash for a figure that is not known."""
    return DASH if value is None else format(value, form)
