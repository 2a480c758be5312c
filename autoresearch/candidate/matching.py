"""Where a SEARCH text or a definition stands in a file: in exactly one place, or it is an error. Pure.

A SEARCH text is matched in four steps, each tried only where the one before has no hit: exact lines; trailing white
space ignored; one uniform shift of the indentation; blank lines ignored. A step with several hits is an error, and so
is none at all: a silent wrong edit costs more than a repair turn.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from autoresearch.candidate import constants
from autoresearch.errors import EditError

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

LONGEST = 200  # characters of a line that take part in the search for similar lines


@dataclass(frozen=True, slots=True)
class Hit:
    """Lines start to end (0-based, end excluded) of the file; the replacement is indented by `shift` more columns."""

    start: int
    end: int
    shift: int = 0


def replace(source: str, search: str, replacement: str, label: str = "SEARCH") -> str:
    """`source` with the one place that matches the whole lines of `search` replaced; "" deletes them.

    replace("a = 1\\nb = 2\\n", "b = 2", "b = 3") -> "a = 1\\nb = 3\\n"

    Raises EditError, whose text begins with `label`, with the closest lines or the line numbers of several matches.
    """
    lines, wanted = source.split("\n"), search.split("\n")
    if not search.strip():
        raise EditError(f"{label}: the SEARCH part is empty. Copy the lines that shall change, or one line to add to.")
    for step in (_exact, _trailing_space, _indentation, _blank_lines):
        hits = list(step(lines, wanted))
        if len(hits) > 1:
            raise EditError(_several(label, lines, hits))
        if hits:
            hit = hits[0]
            new = _shifted(replacement.split("\n"), hit.shift, label) if replacement else []
            return "\n".join([*lines[: hit.start], *new, *lines[hit.end :]])
    raise EditError(_nothing(label, lines, wanted))


def replace_definition(source: str, kind: str, name: str, body: str) -> str:
    """`source` with the function or class `name` (or `Class.method`), decorators included, replaced by `body`.

    replace_definition("def f():\n    return 1\n", "def", "f", "def f():\n    return 2") -> "def f():\n    return 2\n"

    Raises EditError where the name has no place or several, or where `body` is anything but that one definition.
    """
    label = f"REPLACE {kind} {name}"
    node = _definition(constants.parse(source), kind, name, label)
    body = textwrap.dedent(body).strip("\n")
    try:
        statements = constants.parse(body).body
    except EditError as error:
        raise EditError(f"{label}: the body is {error}") from error
    found = [_heading(s) if isinstance(s, Definition) else "other code" for s in statements]
    expected = f"{kind} {node.name}"
    if found != [expected]:
        raise EditError(
            f"{label}: the body must be `{expected}` and nothing else; it holds {', '.join(found) or 'nothing'}."
        )
    lines = source.split("\n")
    start = min(n.lineno for n in [node, *node.decorator_list]) - 1
    new = textwrap.indent(body, " " * node.col_offset).split("\n")
    return "\n".join([*lines[:start], *new, *lines[node.end_lineno :]])


def _definition(tree: ast.Module, kind: str, name: str, label: str) -> Definition:
    """The one definition called `name`: by its qualified name, else by the last part of it."""
    known = {qualified: node for qualified, node in _definitions(tree) if _heading(node).startswith(kind + " ")}
    if name in known:
        return known[name]
    hits = [qualified for qualified in known if qualified.rpartition(".")[2] == name]
    if len(hits) == 1:
        return known[hits[0]]
    if hits:
        raise EditError(f"{label}: there are several. Say which: {', '.join(hits)}.")
    closest = get_close_matches(name[:LONGEST], known, n=3, cutoff=0.4) or list(known)
    raise EditError(f"{label}: there is no such {kind}. Did you mean {', '.join(closest) or 'another form of edit'}?")


def _definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    for node in tree.body:
        if isinstance(node, Definition):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{n.name}", n) for n in node.body if isinstance(n, Definition))


def _heading(node: Definition) -> str:
    return ("class " if isinstance(node, ast.ClassDef) else "def ") + node.name


def _windows(lines: list[str], wanted: list[str], form: Callable[[str], str]) -> Iterator[Hit]:
    have, want = [form(line) for line in lines], [form(line) for line in wanted]
    for start in range(len(have) - len(want) + 1):
        if have[start : start + len(want)] == want:
            yield Hit(start, start + len(want))


def _exact(lines: list[str], wanted: list[str]) -> Iterator[Hit]:
    return _windows(lines, wanted, lambda line: line)


def _trailing_space(lines: list[str], wanted: list[str]) -> Iterator[Hit]:
    return _windows(lines, wanted, str.rstrip)


def _indentation(lines: list[str], wanted: list[str]) -> Iterator[Hit]:
    for hit in _windows(lines, wanted, str.strip):
        shift = _uniform_shift(lines[hit.start : hit.end], wanted)
        if shift is not None:
            yield Hit(hit.start, hit.end, shift)


def _blank_lines(lines: list[str], wanted: list[str]) -> Iterator[Hit]:
    at = [i for i, line in enumerate(lines) if line.strip()]
    want = [line for line in wanted if line.strip()]
    for hit in _indentation([lines[i] for i in at], want):
        yield Hit(at[hit.start], at[hit.end - 1] + 1, hit.shift)


def _uniform_shift(have: list[str], want: list[str]) -> int | None:
    """By how many columns all of `have` is indented more than `want`; None where lines differ in that."""
    shifts = {_indent(a) - _indent(b) for a, b in zip(have, want, strict=True) if a.strip()}
    return shifts.pop() if len(shifts) == 1 else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _shifted(lines: list[str], shift: int, label: str) -> list[str]:
    if shift < 0 and any(line.strip() and _indent(line) < -shift for line in lines):
        raise EditError(
            f"{label}: the indentation of REPLACE does not fit the file. Indent both parts as the file does."
        )
    return [(" " * shift + line if shift > 0 else line[-shift:]) if line.strip() else line for line in lines]


def _several(label: str, lines: list[str], hits: list[Hit]) -> str:
    where = ", ".join(str(hit.start + 1) for hit in hits[:8]) + (", ..." if len(hits) > 8 else "")
    return (
        f"{label}: it matches {len(hits)} places, at lines {where}. "
        "Copy more lines around the one you mean, so that it matches once."
    )


def _nothing(label: str, lines: list[str], wanted: list[str]) -> str:
    start = _closest(lines, wanted)
    if start is None:
        return f"{label}: nothing in the file is like it. Copy the lines from the file, character by character."
    end = min(len(lines), start + len(wanted))
    where = f"are lines {start + 1} to {end}" if end > start + 1 else f"is line {end}"
    shown = "\n".join(lines[start : min(end, start + 12)])
    return f"{label}: it matches nothing. The closest {where}; copy exactly:\n{shown}"


def _closest(lines: list[str], wanted: list[str]) -> int | None:
    """The start of the window of the file that shares the most lines with `wanted`, else the most similar line."""
    want = [line.strip()[:LONGEST] for line in wanted]
    have = [line.strip()[:LONGEST] for line in lines]
    starts = range(max(1, len(have) - len(want) + 1))
    shared = [sum(bool(b) and a == b for a, b in zip(have[i:], want, strict=False)) for i in starts]
    if max(shared):
        return shared.index(max(shared))
    for offset, line in enumerate(want):
        if line and (similar := get_close_matches(line, have, n=1, cutoff=0.6)):
            return max(0, have.index(similar[0]) - offset)
    return None
