"""Parse a model's reply into edits. No I/O.

A reply is plain text: HYPOTHESIS, CATEGORY and TITLE lines, then `SET NAME = literal`, SEARCH/REPLACE blocks,
`REPLACE def NAME` with a fenced body, or one whole fenced file. The parser skips the thinking, fences, bullets and file
names that small models put around them, and raises an error for an edit whose meaning it would have to guess.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoresearch.candidate import constants
from autoresearch.candidate.edit_markers import BEGIN_LINE, DIVIDER_LINE, END_LINE
from autoresearch.errors import EditError
from autoresearch.formats import printable
from autoresearch.records import (
    CATEGORIES,
    HYPOTHESIS_CHARS,
    TITLE_CHARS,
    Edit,
    ReplaceDefinition,
    SearchReplace,
    Set,
    WholeFile,
)
from autoresearch.search.llm import assignments, channels
from autoresearch.search.llm.fences import FENCE, Fences

MAX_EDITS = 40  # of one reply
MAX_LITERAL_CHARS = 500
MAX_LINES = 4000  # of one reply; train_mlx.py has under 550

EXAMPLE = "SET DEPTH = 6\n\n<<<<<<< SEARCH\nthe exact lines to change\n=======\nthe new lines\n>>>>>>> REPLACE"

# Each pattern matches one line, in linear time, since models may write thousands of blanks.
_LEAD = r"[\s>*+#_`\-\d.)]*"  # bullets, quotes, numbers, emphasis
_FIELD = re.compile(_LEAD + r"(HYPOTHESIS|CATEGORY|TITLE)[*_\s]*(?:[:：](.*)|$)", re.IGNORECASE)
_SET = re.compile(
    _LEAD + r"SET[\s`*:]+([A-Za-z_][\w.]*)[`*\s]*(?::\s*\w+\s*)?(:?=|→|->|\bto\b)(.*)",
    re.IGNORECASE,
)
_FROM_TO = re.compile(_LEAD + r"SET[\s`*:]+([A-Za-z_][\w.]*)[`*\s]*\bfrom\b(.*?)\bto\b(.*)", re.IGNORECASE)
_SET_WITHOUT_SIGN = re.compile(r"\s*SET\s+[A-Z][A-Z0-9_]*(?:\s+[-\d.\"'].*|\s*)")
_DEFINITION = re.compile(
    _LEAD + r"REPLACE\s+(def|class|function|method)\s+`?([A-Za-z_][\w.]*)(?:\([^()]*\))?[`*\s:]*(?:with[`*\s:]*)?",
    re.IGNORECASE,
)

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_TAGS = re.compile(r"</?(?:answer|output|response)>", re.IGNORECASE)
_REMARK = re.compile(r"\s(?:#(?s:.*)|\((?:was|from|currently|current|instead|previously|default|old)\b[^()]*\))\Z")

# The beginning of a remark that follows a literal without a comment sign.
_UNMARKED_REMARK = re.compile(r"\s(?:\(|//|<-|—|–|-\s+[A-Za-z]|because\b|instead\b)")
_RANGE = re.compile(r"[\d.]+\s*[-–—]\s*[\d.]+")
_ARROW = re.compile(r"->|→")

_QUOTES = str.maketrans("“”‘’", "\"\"''")

# Words that stand for a category, for texts that name none.
_SYNONYMS = {
    "lr": "learning_rate",
    "learning rate": "learning_rate",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "momentum": "optimizer",
    "normaliz": "normalisation",
    "norm": "normalisation",
    "init": "initialisation",
    "regulariz": "regularisation",
    "decay": "regularisation",
    "dropout": "regularisation",
    "layers": "depth",
    "embed": "embedding",
    "warm": "schedule",
    "simpl": "simplification",
    "throughput": "speed",
    "activation": "mlp",
    "dtype": "precision",
}


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """Content of a reply."""

    title: str  # one line, under 80 characters, never empty
    hypothesis: str  # one line, may be empty
    category: str  # one of CATEGORIES
    edits: tuple[Edit, ...]  # at least one

    @property
    def form(self) -> str:
        """The form of scorecard.FORMATS that the edits are in, whatever was asked for."""
        kinds = {type(edit) for edit in self.edits}
        return "file" if WholeFile in kinds else "set" if kinds == {Set} else "blocks"

    @property
    def change(self) -> str:
        """The change in a few words: "DEPTH = 6", or the title where code changes."""
        sets = [f"{edit.name} = {edit.literal}" for edit in self.edits if isinstance(edit, Set)]
        return ", ".join(sets)[:TITLE_CHARS] if len(sets) == len(self.edits) else self.title


def parse(reply: str, *, whole_file: bool = True) -> ParsedReply:
    """Parse a reply.

    >>> parse("TITLE: Deeper\\nCATEGORY: depth\\nSET DEPTH = 6\\n")
    ParsedReply(title='Deeper', hypothesis='', category='depth', edits=(Set(name='DEPTH', literal='6'),))

    Raises EditError, with a text that the model can act on, when the reply holds no edit or a broken one, or a whole
    file in spite of `whole_file=False`.
    """
    lines, hunks = assignments.without_diffs(channels.answer(reply).split("\n"))
    if len(lines) > MAX_LINES:
        raise EditError(f"The reply has {len(lines)} lines. Answer with the edit alone.")
    edits, fields = _scan(lines)
    edits = [*edits, *hunks] or _unfenced_file(lines) or _bare_assignments(lines)
    if not edits:
        raise EditError(_no_edit(lines))
    _check_sets(edits)
    if any(isinstance(edit, WholeFile) for edit in edits):
        if len(edits) > 1:
            raise EditError("The reply holds a whole file and other edits. Answer with the one or the other.")
        if not whole_file:
            raise EditError("A whole file was not asked for. Answer with only what changes, like this:\n" + EXAMPLE)
    hypothesis = plain_line(fields.get("hypothesis", ""), HYPOTHESIS_CHARS)
    title = plain_line(fields.get("title", ""), TITLE_CHARS) or _title(edits, hypothesis)
    return ParsedReply(title, hypothesis, named_category(fields.get("category", "")), tuple(edits))


def named_category(text: str) -> str:
    """Return the category that a text names, else "other": named_category("**Learning rate**") -> "learning_rate"."""
    text = text.lower()
    named = [(text.find(form), c) for c in CATEGORIES for form in (c, c.replace("_", " ")) if form in text]
    similar = [(text.find(form), c) for form, c in _SYNONYMS.items() if form in text]
    return min(named or similar or [(0, "other")])[1]


def _scan(lines: list[str]) -> tuple[list[Edit], dict[str, str]]:
    """Return all edits of the reply, in order, and its fields."""
    edits: list[Edit] = []
    fields: dict[str, str] = {}
    fences = Fences(lines, _is_edit)
    field = None  # the field that a following line continues
    at = 0
    while at < len(lines):
        line = lines[at]
        edit, after = _edit_at(fences, at)
        if edit is not None:
            edits.append(edit)
            field = None
        elif match := _FIELD.fullmatch(line):
            field = match[1].lower()
            fields.setdefault(field, (match[2] or "").strip())
        elif field and _continues(field, fields[field], line):
            fields[field] = f"{fields[field]} {line.strip()}".strip()
        elif field and fields[field]:
            field = None
        at = after
    return edits, fields


def _continues(field: str, value: str, line: str) -> bool:
    """Return whether `line` continues the field above it. Only a hypothesis may have several lines."""
    return bool(line.strip()) and not FENCE.fullmatch(line) and (field == "hypothesis" or not value.strip("*_ "))


def _edit_at(fences: Fences, at: int) -> tuple[Edit | None, int]:
    """Return the edit that begins at line `at`, or None, and the number of the line after it."""
    lines = fences.lines
    line = lines[at]
    if BEGIN_LINE.fullmatch(line):
        return _block(lines, at)
    if _DEFINITION.fullmatch(line):
        return _replaced_definition(fences, at)
    plain = _TAGS.sub("", _INVISIBLE.sub("", line))
    if (match := _FROM_TO.fullmatch(plain)) and _is_literal(literal := _bare_literal(match[3])):
        return Set(match[1], literal), at + 1
    if match := _SET.fullmatch(plain):
        literal = _bare_literal(match[3])
        if assignments.is_stated(match[3].replace(literal, "", 1)):
            return None, at + 1
        if match[2].lower() != "to" or _is_literal(literal):  # else prose: "set DEPTH to something smaller"
            return Set(match[1], literal), at + 1
    if _SET_WITHOUT_SIGN.fullmatch(line):
        raise EditError(f"`{line.strip()[:80]}` is not complete. Write it as `SET NAME = literal`.")
    if FENCE.fullmatch(line) and fences.holds_file(at):
        body, after = fences.body(at)
        if after == len(lines) and not FENCE.fullmatch(lines[-1]):
            raise EditError("The answer ends inside the fence around the file: cut off, or left open.")
        return WholeFile("\n".join(body)), after
    return None, at + 1


def _is_edit(line: str) -> bool:
    return bool(BEGIN_LINE.fullmatch(line) or _DEFINITION.fullmatch(line))


def _block(lines: Sequence[str], start: int) -> tuple[Edit, int]:
    """Read a SEARCH/REPLACE block. Only the end marker ends its REPLACE part; an empty one deletes."""
    where = f"The SEARCH block at line {start + 1} of the reply"
    divider = None
    for at in range(start + 1, len(lines)):
        if END_LINE.fullmatch(lines[at]) and divider is not None:
            return SearchReplace(_section(lines[start + 1 : divider]), _section(lines[divider + 1 : at])), at + 1
        if BEGIN_LINE.fullmatch(lines[at]) or END_LINE.fullmatch(lines[at]):
            break
        if divider is None and DIVIDER_LINE.fullmatch(lines[at]):
            divider = at
    lacks = "======= line between the old and the new lines" if divider is None else ">>>>>>> REPLACE line at its end"
    raise EditError(f"{where} has no {lacks}. Write it like this:\n{EXAMPLE}")


def _section(lines: Sequence[str]) -> str:
    """Join the lines of one half of a block, without a fence around them."""
    inner = [i for i, line in enumerate(lines) if line.strip()]
    if len(inner) > 1 and all(FENCE.fullmatch(lines[i]) for i in (inner[0], inner[-1])):
        lines = lines[inner[0] + 1 : inner[-1]]
    return "\n".join(lines) if any(line.strip() for line in lines) else ""


def _replaced_definition(fences: Fences, start: int) -> tuple[Edit | None, int]:
    """Read `REPLACE def NAME` with its body: the fence that follows, else the lines up to the next edit or field."""
    lines = fences.lines
    match = _DEFINITION.fullmatch(lines[start])
    assert match is not None  # the caller has looked
    at = start + 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at < len(lines) and FENCE.fullmatch(lines[at]):
        body, after = fences.body(at)
    else:
        after = next((i for i in range(at, len(lines)) if _is_directive(lines[i])), len(lines))
        body = lines[at:after]
    if any(BEGIN_LINE.fullmatch(line) for line in body or lines[at : at + 1]):
        return None, start + 1  # the line is the heading of a SEARCH block
    kind: Literal["def", "class"] = "class" if match[1].lower() == "class" else "def"
    return ReplaceDefinition(kind, match[2], "\n".join(body).strip("\n")), after


def _is_directive(line: str) -> bool:
    return any(p.fullmatch(line) for p in (BEGIN_LINE, _DEFINITION, _FIELD, _SET, FENCE))


def _unfenced_file(lines: list[str]) -> list[Edit]:
    """Return a whole file that stands in the reply without a fence, as a list of at most one edit."""
    start = next((i for i, line in enumerate(lines) if re.match(r'"""|import |from |#', line)), None)
    whole = start is not None and Fences(lines, _is_edit).is_file(start, len(lines))
    return [WholeFile("\n".join(lines[start:]))] if whole else []


def _bare_assignments(lines: list[str]) -> list[Edit]:
    """Return `NAME = literal` lines without SET as edits."""
    found = [(name, _bare_literal(text)) for name, text in assignments.bare(lines)]
    return [Set(name, literal) for name, literal in found if _is_literal(literal)]


def _bare_literal(text: str) -> str:
    """Strip marks and remarks from a literal: " 0.05` (was 0.04)" -> "0.05", "8 -> 6 // fewer" -> "6".

    Raises EditError for a range, since Python would read `4-6` as -2.
    """
    text = text[:MAX_LITERAL_CHARS].strip("`* \t").translate(_QUOTES)
    text = _REMARK.sub("", text).strip("`* \t").rstrip(";,.")
    if not _is_literal(text) and (remark := _UNMARKED_REMARK.search(text)):
        text = text[: remark.start()].rstrip(" `*;,.")
    before, arrow, after = _ARROW.sub("→", text, count=1).partition("→")
    if arrow and _is_literal(before.strip("`* \t")):
        text = after.strip("`* \t")
    if _RANGE.fullmatch(text):
        raise EditError(f"`{text[:40]}` reads as a range. Give one value.")
    return text


def _is_literal(text: str) -> bool:
    try:
        constants.evaluate(text)
    except ValueError:
        return False
    return True


def _check_sets(edits: list[Edit]) -> None:
    """Raise EditError for too many edits, or for a constant that is set to two values."""
    if len(edits) > MAX_EDITS:
        raise EditError(f"The reply holds {len(edits)} edits. Make one change, in at most {MAX_EDITS}.")
    seen: dict[str, str] = {}
    for edit in [edit for edit in edits if isinstance(edit, Set)]:
        if seen.setdefault(edit.name, edit.literal) != edit.literal:
            raise EditError(f"{edit.name} is set to {seen[edit.name]} and to {edit.literal}. Set it once.")


def _no_edit(lines: list[str]) -> str:
    """Say why the reply holds no edit, and show the form of one."""
    text = "\n".join(lines)
    if not text.strip():
        why = "The reply is empty."
    elif text.lstrip(" \n`json").startswith("{"):
        why = "The reply is JSON, which is not read here."
    else:
        why = "The reply holds no edit."
    return f"{why} Answer with edits in this form:\n{EXAMPLE}"


def _title(edits: list[Edit], hypothesis: str) -> str:
    """Return a title for a reply without one."""
    sets = [f"{edit.name} = {edit.literal}" for edit in edits if isinstance(edit, Set)]
    if sets:
        return plain_line("Set " + ", ".join(sets), TITLE_CHARS)
    definitions = ", ".join(f"{edit.kind} {edit.name}" for edit in edits if isinstance(edit, ReplaceDefinition))
    return plain_line(hypothesis or f"Rewrite {definitions or 'some lines'}", TITLE_CHARS)


def plain_line(text: str, chars: int) -> str:
    """Return one line of printable text without Markdown's marks, cut at a word to at most `chars` characters.

    >>> plain_line("**Raise `LR`**", 79)
    'Raise LR'
    """
    text = printable(text[: 8 * chars].replace("`", "")).strip(" *_\"'#>-")
    short = textwrap.shorten(text, chars, placeholder="...")
    return short if short != "..." else text[:chars]
