"""The parts that the pages share: sections, tables, figures. They return HTML, and take it where they say so."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as e

CLASSES = {  # of a table's columns
    "t": "",
    "x": ' class="text"',
    "n": ' class="num"',
    "T": ' class="wide"',
    "N": ' class="num wide"',
    "b": ' class="block"',
    "l": ' class="lines"',
    "L": ' class="lines wide"',
}


def section(title: str, body: str, note: str = "") -> str:
    said = f'<p class="note">{e(note)}</p>\n' if note else ""
    return f"<section><h2>{e(title)}</h2>\n{said}{body}</section>\n"


def table(names: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, ids: Sequence[str] = ()) -> str:
    """`kinds` has a letter a column; the cells are HTML.

    t: text, x: long text, l: lines that stay whole, n: numbers; b and l stand one below the other on a phone, and
    capitals are for what a phone leaves out.
    """
    classes = [CLASSES[kind] for kind in kinds]
    head = "".join(f"<th{c}>{e(name)}</th>" for name, c in zip(names, classes, strict=False))
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td{c}>{cell}</td>" for cell, c in zip(row, classes, strict=False))
        body.append(f'<tr id="{ids[i]}">{cells}</tr>' if ids else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>\n{"".join(body)}</table></div>'


def signed(bpb: float | None) -> str:
    """signed(-0.0123) -> "−0.0123"; a dash for what is not known."""
    return "–" if bpb is None else f"{bpb:+.4f}".replace("-", "−")


def both(wide: str, narrow: str) -> str:
    return f'<figure class="wide">{wide}</figure><figure class="narrow">{narrow}</figure>'
