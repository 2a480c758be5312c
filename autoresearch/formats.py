"""Format numbers and words for people. No I/O."""

from __future__ import annotations

import re

GIB = 2**30  # bytes
VERDICT_STYLES = {"keep": "bold green", "discard": "dim", "crash": "red"}  # of a line on a terminal
# Characters that a terminal or a page obeys instead of showing: controls, line separators, overrides of direction, and
# halves of surrogate pairs, which are not characters. Line breaks and tabs are not among them. The last are tags, which
# nobody sees and a model reads as ASCII.
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def span(seconds: float) -> str:
    """Format a duration: span(45) -> "45 s", span(129) -> "2:09 min", span(27960) -> "7 h 46 min"."""
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def counted(count: int, noun: str) -> str:
    """Put a regular noun behind its number: counted(1, "run") -> "1 run", counted(2, "run") -> "2 runs"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def run_name(k: int) -> str:
    """Name run `k` of an experiment, which the journal counts from 0: run_name(0) -> "run 1", in the folder run-1."""
    return f"run {k + 1}"


def shortened(text: str, most: int) -> str:
    """Cut a text of more than `most` characters and mark the cut: shortened("abcdef", 4) -> "abc…"."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def printable(text: str, kept: str = "") -> str:
    """Replace each character that a terminal would obey instead of showing by a blank; `kept` lists exceptions.

    printable("a\\x1b[1mb\\n", kept="\\n") -> "a [1mb\\n"
    """
    return "".join(c if c.isprintable() or c in kept else " " for c in text)
