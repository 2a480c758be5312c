"""Parse a model's reply into edits. No I/O.

A reply is plain text: HYPOTHESIS, CATEGORY and TITLE lines, then `SET NAME = literal`, SEARCH/REPLACE blocks,
`REPLACE def NAME` with a fenced body, or one whole fenced file. The parser skips the thinking, fences, bullets and file
names that small models put around them, and raises an error for an edit whose meaning it would have to guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoresearch.candidate.constants import LANGUAGES
from autoresearch.candidate.edit_markers import BEGIN_LINE, DIVIDER_LINE, END_LINE
from autoresearch.errors import EditError
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
from autoresearch.search.llm import assignments, channels, fields, sections
from autoresearch.search.llm.fences import FENCE, Fences

MAX_EDITS = 40  # of one reply
MAX_LINES = 4000  # of one reply; train_mlx.py has under 550

EXAMPLE = "SET DEPTH = 6\n\n<<<<<<< SEARCH\nthe exact lines to change\n=======\nthe new lines\n>>>>>>> REPLACE"

WITH_CONSTANTS = tuple(LANGUAGES)  # ends of the paths of files that SET changes

# Each pattern matches one line, in linear time, since models may write thousands of blanks.
_LEAD = r"[\s>*+#_`\-\d.)]*"  # bullets, quotes, numbers, emphasis
_FIELD = re.compile(_LEAD + r"(HYPOTHESIS|CATEGORY|TITLE)[*_\s]*(?:[:：](.*)|$)", re.IGNORECASE)
_KEY = r"(?:[\w-]{1,120}|\"[^\"\n]{0,120}\")"  # a part of a key's name
_SET = re.compile(
    _LEAD + r"SET[\s`*:]+([A-Za-z_][\w.]*)[`*\s]*(?::\s*\w+\s*)?(:?[=＝]|→|->|\bto\b)(.*)",
    re.IGNORECASE,
)
_SET_KEY = re.compile(
    _LEAD
    + r"SET[\s`*:]+((?:[\w./-]{1,120}\.\w{1,10}:)?"
    + _KEY
    + r"(?:\."
    + _KEY
    + r"){0,9}(?:\[\d{1,4}\])?)[`*\s]*(:?[=＝]|→|->|\bto\b)(.*)",
    re.IGNORECASE,
)
_FROM_TO = re.compile(_LEAD + r"SET[\s`*:]+([A-Za-z_][\w.]*)[`*\s]*\bfrom\b(.*?)\bto\b(.*)", re.IGNORECASE)
_SET_BY = re.compile(_LEAD + r"SET[\s`*:]+([A-Z][A-Z0-9_]*)[`*\s]*(\*\*|//|[-+*/])=(?!=)(.*)")  # SET DEPTH //= 2
_SET_COLON = re.compile(_LEAD + r"SET[\s`*:]+([A-Z][A-Z0-9_]*)[`*\s]*:(?!=)([^=]+)")  # SET DEPTH: 6
_SET_WITHOUT_SIGN = re.compile(r"\s*SET\s+[A-Z][A-Z0-9_]*(?:\s+[-\d.\"'].*|\s*)")
_DEFINITION = re.compile(
    _LEAD + r"REPLACE\s+(def|class|function|method)\s+`?([A-Za-z_][\w.]*)(?:\([^()]*\))?[`*\s:]*(?:with[`*\s:]*)?",
    re.IGNORECASE,
)

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_TAGS = re.compile(r"</?(?:answer|output|response)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """Content of a reply."""

    title: str  # one line, under 80 characters, never empty
    hypothesis: str  # one line, may be empty
    category: str  # one of the task's
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


def parse(
    reply: str, *, whole_file: bool = True, files: Sequence[str] = (), categories: Sequence[str] = CATEGORIES
) -> ParsedReply:
    """Parse a reply.

    >>> parse("TITLE: Deeper\\nCATEGORY: depth\\nSET DEPTH = 6\\n")
    ParsedReply(title='Deeper', hypothesis='', category='depth', edits=(Set(name='DEPTH', literal='6', path=None),))

    `files` are the paths of a declared task; in a reply for training no line names a file. A fence behind the line that
    names a file is that file, whole. Raises EditError, with a text that the model can act on, when the reply holds no
    edit or a broken one, or a whole file that names none in spite of `whole_file=False`.
    """
    lines, hunks = assignments.without_diffs(channels.answer(reply).split("\n"))
    if len(lines) > MAX_LINES:
        raise EditError(f"The reply has {len(lines)} lines. Answer with the edit alone.")
    fences = Fences(lines, _is_edit, files)
    edits, told = _scan(fences)
    edits = [*edits, *hunks] or (_lone_file(fences, whole_file) if files else _unfenced_file(lines))
    edits = edits or _bare_assignments(lines)
    if not edits:
        raise EditError(_no_edit(lines, files))
    _check_sets(edits)
    _check_files(edits, whole_file=whole_file or bool(files))
    hypothesis = fields.plain_line(told.get("hypothesis", ""), HYPOTHESIS_CHARS)
    title = fields.plain_line(told.get("title", ""), TITLE_CHARS) or _title(edits, hypothesis)
    return ParsedReply(title, hypothesis, fields.named_category(told.get("category", ""), categories), tuple(edits))


def example(files: Sequence[str] = ()) -> str:
    """Return edits in their form, of a task with these paths."""
    if not files:
        return EXAMPLE
    name = "SET name = value\n\n" if any(path.endswith(WITH_CONSTANTS) for path in files) else ""
    return f"{name}### {files[0]}\n{EXAMPLE.partition(chr(10) * 2)[2]}"


def _check_files(edits: Sequence[Edit], *, whole_file: bool) -> None:
    """Raise EditError for a whole file that was not asked for, or that other edits change as well."""
    whole = [edit.path for edit in edits if isinstance(edit, WholeFile)]
    if any([edit.path for edit in edits].count(path) > 1 for path in whole) or (None in whole and len(edits) > 1):
        raise EditError("The reply holds a whole file and other edits. Answer with the one or the other.")
    if whole and not whole_file:
        raise EditError("A whole file was not asked for. Answer with only what changes, like this:\n" + EXAMPLE)


def _scan(fences: Fences) -> tuple[list[Edit], dict[str, str]]:
    """Return all edits of the reply, in order, and its fields."""
    lines, edits, told = fences.lines, list[Edit](), dict[str, str]()
    field = None  # the field that a following line continues
    path = None  # of the file that the last heading names
    named = False  # whether nothing follows that heading yet
    at = 0
    while at < len(lines):
        line = lines[at]
        if fences.files and (heading := sections.heading(line, fences.files)):
            path, named, field, at = heading, True, None, at + 1
            continue
        edit, after = _named_file(fences, at, path) if path and named else (None, at)
        if edit is None:
            edit, after = _edit_at(fences, at, path)
        named = named and not line.strip()
        if edit is not None:
            marked = sections.in_marker(line, fences.files) if BEGIN_LINE.fullmatch(line) else None
            edits.append(_with_path(edit, marked or path))
            field = None
        elif match := _FIELD.fullmatch(line):
            field = match[1].lower()
            told.setdefault(field, (match[2] or "").strip())
        elif field and _continues(field, told[field], line):
            told[field] = f"{told[field]} {line.strip()}".strip()
        elif field and told[field]:
            field = None
        at = after
    return edits, told


def _with_path(edit: Edit, path: str | None) -> Edit:
    return replace(edit, path=path) if path else edit


def _named_file(fences: Fences, at: int, path: str) -> tuple[Edit | None, int]:
    """Return the whole file in a fence behind the line that names it; None where a fence holds edits, or is none."""
    lines = fences.lines
    if not FENCE.fullmatch(lines[at]) or fences.holds_edit(at):
        return None, at
    body, after = fences.body(at)
    if all(_settings(fences.files).fullmatch(line) for line in body if line.strip()) and any(map(str.strip, body)):
        return None, at
    if fences.is_open(at):
        raise EditError(f"The answer ends inside the fence around {path}: cut off, or left open.")
    following = next((line for line in lines[after:] if line.strip()), "")
    if following and not _is_directive(following) and not sections.heading(following, fences.files):
        rest = lines[
            after : next((i for i in range(after, len(lines)) if sections.heading(lines[i], fences.files)), None)
        ]
        if any(FENCE.fullmatch(line) for line in rest):
            raise EditError(f"The fence around {path} ends before other fences. Put a longer one around it: ````")
    return WholeFile("\n".join(body)), after


def _settings(files: Sequence[str]) -> re.Pattern[str]:
    """Return the form of a SET line: training's, or that of tasks with paths and keys."""
    return _SET_KEY if files else _SET


def _continues(field: str, value: str, line: str) -> bool:
    """Return whether `line` continues the field above it. Only a hypothesis may have several lines."""
    return bool(line.strip()) and not FENCE.fullmatch(line) and (field == "hypothesis" or not value.strip("*_ "))


def _edit_at(fences: Fences, at: int, path: str | None) -> tuple[Edit | None, int]:
    """Return the edit that begins at line `at`, or None, and the number of the line after it."""
    lines = fences.lines
    line = lines[at]
    if BEGIN_LINE.fullmatch(line):
        read = _lines if path and path.endswith(".md") else _section  # in Markdown, fences are text
        return _block(lines, at, example(fences.files), read)
    if _DEFINITION.fullmatch(line):
        return _replaced_definition(fences, at)
    plain = _TAGS.sub("", _INVISIBLE.sub("", line))
    if fences.files and not any(path.endswith(WITH_CONSTANTS) for path in fences.files):
        return None, at + 1
    for told in filter(None, (_FROM_TO.fullmatch(plain), _SET_COLON.fullmatch(plain))):
        if assignments.is_literal(literal := assignments.plain_literal(told[told.lastindex or 0])):
            return Set(told[1], literal), at + 1
    if (match := _SET_BY.fullmatch(plain)) and assignments.is_literal(literal := assignments.plain_literal(match[3])):
        return Set(match[1], f"{match[1]} {match[2]} ({literal})"), at + 1
    if match := _settings(fences.files).fullmatch(plain):
        literal = assignments.plain_literal(match[3])
        if assignments.is_stated(match[3].replace(literal, "", 1)):
            return None, at + 1
        if match[2].lower() != "to" or assignments.is_literal(literal):  # else prose: "set DEPTH to something smaller"
            assignments.check_single(literal)
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


def _block(lines: Sequence[str], start: int, form: str, read: Callable[[Sequence[str]], str]) -> tuple[Edit, int]:
    """Read a SEARCH/REPLACE block. Only the end marker ends its REPLACE part; an empty one deletes."""
    where = f"The SEARCH block at line {start + 1} of the reply"
    divider = None
    for at in range(start + 1, len(lines)):
        if END_LINE.fullmatch(lines[at]) and divider is not None:
            return SearchReplace(read(lines[start + 1 : divider]), read(lines[divider + 1 : at])), at + 1
        if BEGIN_LINE.fullmatch(lines[at]) or END_LINE.fullmatch(lines[at]):
            break
        if divider is None and DIVIDER_LINE.fullmatch(lines[at]):
            divider = at
    lacks = "======= line between the old and the new lines" if divider is None else ">>>>>>> REPLACE line at its end"
    raise EditError(f"{where} has no {lacks}. Write it like this:\n{form}")


def _section(lines: Sequence[str]) -> str:
    """Join the lines of one half of a block, without a fence around them."""
    inner = [i for i, line in enumerate(lines) if line.strip()]
    if len(inner) > 1 and all(FENCE.fullmatch(lines[i]) for i in (inner[0], inner[-1])):
        lines = lines[inner[0] + 1 : inner[-1]]
    return _lines(lines)


def _lines(lines: Sequence[str]) -> str:
    """Join lines; blank ones alone are an empty text."""
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
        after = next((i for i in range(at, len(lines)) if _ends_body(lines[i], fences.files)), len(lines))
        body = lines[at:after]
    if any(BEGIN_LINE.fullmatch(line) for line in body or lines[at : at + 1]):
        return None, start + 1  # the line is the heading of a SEARCH block
    kind: Literal["def", "class"] = "class" if match[1].lower() == "class" else "def"
    return ReplaceDefinition(kind, match[2], "\n".join(body).strip("\n")), after


def _is_directive(line: str) -> bool:
    return any(p.fullmatch(line) for p in (BEGIN_LINE, _DEFINITION, _FIELD, _SET, FENCE))


def _ends_body(line: str, files: Sequence[str]) -> bool:
    return _is_directive(line) or bool(files and sections.heading(line, files))


def _unfenced_file(lines: list[str]) -> list[Edit]:
    """Return a whole file that stands in the reply without a fence, as a list of at most one edit."""
    start = next((i for i, line in enumerate(lines) if re.match(r'"""|import |from |#', line)), None)
    whole = start is not None and Fences(lines, _is_edit).is_file(start, len(lines))
    return [WholeFile("\n".join(lines[start:]))] if whole else []


def _lone_file(fences: Fences, whole_file: bool) -> list[Edit]:
    """Return the main file that the reply's only fence holds, where a whole file was asked for."""
    at, found = 0, list[int]()
    while at < len(fences.lines):
        if FENCE.fullmatch(fences.lines[at]):
            found.append(at)
            at = fences.body(at)[1]
        else:
            at += 1
    whole = whole_file and len(found) == 1 and not fences.is_open(found[0])
    return [WholeFile("\n".join(fences.body(found[0])[0]))] if whole else []


def _bare_assignments(lines: list[str]) -> list[Edit]:
    """Return `NAME = literal` lines without SET as edits."""
    found = [(name, assignments.plain_literal(text)) for name, text in assignments.bare(lines)]
    return [Set(name, literal) for name, literal in found if assignments.is_literal(literal)]


def _check_sets(edits: list[Edit]) -> None:
    """Raise EditError for too many edits, or for a constant that is set to two values."""
    if len(edits) > MAX_EDITS:
        raise EditError(f"The reply holds {len(edits)} edits. Make one change, in at most {MAX_EDITS}.")
    seen: dict[tuple[str, str | None], str] = {}
    for edit in [edit for edit in edits if isinstance(edit, Set)]:
        if (other := seen.setdefault((edit.name, edit.path), edit.literal)) != edit.literal:
            raise EditError(f"{edit.name} is set to {other} and to {edit.literal}. Set it once.")


def _no_edit(lines: Sequence[str], files: Sequence[str]) -> str:
    """Say why the reply holds no edit, and show the form of one."""
    text = "\n".join(lines)
    if not text.strip():
        why = "The reply is empty."
    elif text.lstrip(" \n`json").startswith("{"):
        why = "The reply is JSON, which is not read here."
    else:
        why = "The reply holds no edit."
    return f"{why} Answer with edits in this form:\n{example(files)}"


def _title(edits: list[Edit], hypothesis: str) -> str:
    """Return a title for a reply without one."""
    sets = [f"{edit.name} = {edit.literal}" for edit in edits if isinstance(edit, Set)]
    if sets:
        return fields.plain_line("Set " + ", ".join(sets), TITLE_CHARS)
    definitions = ", ".join(f"{edit.kind} {edit.name}" for edit in edits if isinstance(edit, ReplaceDefinition))
    return fields.plain_line(hypothesis or f"Rewrite {definitions or 'some lines'}", TITLE_CHARS)
