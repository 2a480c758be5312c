"""Show a change to the editable file as HTML: removed and added lines, the lines around them, and the changed words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from html import escape

from autoresearch.candidate.pack import readable

CONTEXT = 2  # unchanged lines shown around a change
MOST_LINES = 300  # of one diff; git has the rest
WORDS = re.compile(r"\w+|\s+|.")
SAME_LINE = 0.5  # similarity from which on two lines count as one line changed
OWNER = re.compile(r"(?:class|def)\s+\w+|[A-Z][A-Z0-9_]*\s*=")


def html(old: str, new: str) -> str:
    """Return a <pre class="diff"> with a span for each line, of class "del", "add", "at" (its place) or none.

    html("A = 1\\n", "A = 2\\n") has <span class="del">-A = <b>1</b></span>, <span class="add">+A = <b>2</b></span>.
    """
    lines = list(_lines(readable(old).splitlines(), readable(new).splitlines()))
    if len(lines) > MOST_LINES:
        more = len(lines) - MOST_LINES
        lines = [*lines[:MOST_LINES], _span("at", f"… {more} more lines")]
    return f'<pre class="diff">{"".join(lines)}</pre>'


def counts(old: str, new: str) -> tuple[int, int]:
    """Count the lines added and removed: counts("a\\nb\\n", "a\\nc\\nd\\n") -> (2, 1)"""
    changes = list(difflib.unified_diff(readable(old).splitlines(), readable(new).splitlines(), lineterm="", n=0))[2:]
    return sum(line.startswith("+") for line in changes), sum(line.startswith("-") for line in changes)


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        start, end = group[0][1], group[-1][2]
        while start < group[0][2] and group[0][0] == "equal" and not old[start].strip():
            start += 1
        while end > group[-1][1] and group[-1][0] == "equal" and not old[end - 1].strip():
            end -= 1
        yield _span("at", f"line {start + 1}{_owner(old, start)}")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (_span("", f" {line}") for line in old[max(i1, start) : min(i2, end)])
            else:
                yield from _changed(old[i1:i2], new[j1:j2])


def _owner(lines: Sequence[str], index: int) -> str:
    """Return the definition that line `index` is part of: ", in class MLP"; empty outside of any."""
    if index < len(lines) and lines[index] and not lines[index][0].isspace():
        return ""
    for line in reversed(lines[:index]):
        if line and not line[0].isspace() and (match := OWNER.match(line)):
            return f", in {match[0].rstrip('= ')}"
    return ""


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield removed lines, then added ones. Where there are as many of both, the words that differ are marked."""
    marked = [_words(a, b) for a, b in zip(old, new, strict=False)] if len(old) == len(new) else []
    for i, line in enumerate(old):
        yield _span("del", "-" + (marked[i][0] if marked else escape(line)), escaped=True)
    for i, line in enumerate(new):
        yield _span("add", "+" + (marked[i][1] if marked else escape(line)), escaped=True)


def _words(a: str, b: str) -> tuple[str, str]:
    """Return two versions of a line as HTML, with the words that differ in <b>."""
    one, two = WORDS.findall(a), WORDS.findall(b)
    matcher = difflib.SequenceMatcher(None, one, two, autojunk=False)
    if matcher.ratio() < SAME_LINE:
        return escape(a), escape(b)
    left, right = [], []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        removed, added = escape("".join(one[i1:i2])), escape("".join(two[j1:j2]))
        left.append(removed if tag == "equal" or not removed else f"<b>{removed}</b>")
        right.append(added if tag == "equal" or not added else f"<b>{added}</b>")
    return "".join(left), "".join(right)


def _span(kind: str, text: str, escaped: bool = False) -> str:
    body = text if escaped else escape(text)
    return f'<span class="{kind}">{body}</span>\n' if kind else f"<span>{body}</span>\n"
