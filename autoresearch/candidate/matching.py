"""Find the one place in a file that a SEARCH text or the name of a definition means, and replace it. No I/O.

A SEARCH text is matched in four steps, each tried only when the one before found nothing: exact lines; trailing white
space ignored; all lines indented by the same number of columns more or less; blank lines ignored. Several matches are
an error like none at all, because a wrong edit that applies silently costs more than asking the model again.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from autoresearch.candidate.syntax import Definition, definitions, parse
from autoresearch.errors import EditError, SourceError

LONGEST = 200  # characters of a line that are compared when looking for similar lines
MOST_LISTED = 8  # places that an error message lists
MOST_SHOWN = 12  # lines of the file that an error message shows
MOST_COMPARED = 20  # lines of SEARCH that are compared with every line of the file when looking for similar lines

Lines = Sequence[str]


@dataclass(frozen=True, slots=True)
class Match:
    """Lines `start` to `end` (0-based, end excluded), to be replaced by lines indented by `shift` more columns."""

    start: int
    end: int
    shift: int = 0


def replace(source: str, search: str, replacement: str, label: str = "SEARCH") -> str:
    """Return `source` with the one match of the whole lines of `search` replaced; an empty `replacement` deletes them.

    replace("a = 1\\nb = 2\\n", "b = 2", "b = 3") -> "a = 1\\nb = 3\\n"

    Raises EditError when there is no match (the message shows the closest lines) or several (it lists their line
    numbers). The message begins with `label`.
    """
    if not search.strip():
        raise EditError(f"{label}: the SEARCH part is empty. Copy the lines that shall change, or one line to add to.")
    lines = source.split("\n")
    match = _only_match(lines, search.split("\n"), label)
    new = _shifted(replacement.split("\n"), match.shift, label) if replacement else []
    return "\n".join([*lines[: match.start], *new, *lines[match.end :]])


def replace_definition(source: str, kind: str, name: str, body: str) -> str:
    """Return `source` with the function or class `name` (or `Class.method`) and its decorators replaced by `body`.

    replace_definition("def f(): return 1\\n", "def", "f", "def f(): return 2") -> "def f(): return 2\\n"

    Raises EditError when `name` is unknown or ambiguous, or when `body` is not exactly one definition of that name.
    Raises SourceError when `source` is not valid Python.
    """
    label = f"REPLACE {kind} {name}"
    node = _definition(parse(source), kind, name, label)
    body = textwrap.dedent(body).strip("\n")
    _check_body(body, f"{kind} {node.name}", label)
    lines = source.split("\n")
    start = min(n.lineno for n in [node, *node.decorator_list]) - 1
    new = textwrap.indent(body, " " * node.col_offset).split("\n")
    return "\n".join([*lines[:start], *new, *lines[node.end_lineno :]])


# --- definitions ------------------------------------------------------------------------------------------------------


def _definition(tree: ast.Module, kind: str, name: str, label: str) -> Definition:
    """Find a definition by its qualified name, else by the last part of it."""
    known = {qualified: node for qualified, node in definitions(tree) if _heading(node).startswith(kind + " ")}
    if name in known:
        return known[name]
    found = [qualified for qualified in known if qualified.rpartition(".")[2] == name]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise EditError(f"{label}: there are several. Say which: {', '.join(found)}.")
    closest = get_close_matches(name[:LONGEST], known, n=3, cutoff=0.4) or list(known)
    raise EditError(f"{label}: there is no such {kind}. Did you mean {', '.join(closest) or 'another form of edit'}?")


def _check_body(body: str, expected: str, label: str) -> None:
    try:
        statements = parse(body).body
    except SourceError as error:
        raise EditError(f"{label}: the body is {error}") from error
    found = [_heading(s) if isinstance(s, Definition) else "other code" for s in statements]
    if found != [expected]:
        holds = ", ".join(found) or "nothing"
        raise EditError(f"{label}: the body must be `{expected}` and nothing else; it holds {holds}.")


def _heading(node: Definition) -> str:
    return ("class " if isinstance(node, ast.ClassDef) else "def ") + node.name


# --- the four steps ---------------------------------------------------------------------------------------------------


def _only_match(lines: Lines, wanted: Lines, label: str) -> Match:
    for step in (_exact, _trailing_space, _indentation, _blank_lines):
        matches = list(step(lines, wanted))
        if len(matches) > 1:
            raise EditError(_several(label, matches))
        if matches:
            return matches[0]
    raise EditError(_nothing(label, lines, wanted))


def _exact(lines: Lines, wanted: Lines) -> Iterator[Match]:
    return _windows(lines, wanted, lambda line: line)


def _trailing_space(lines: Lines, wanted: Lines) -> Iterator[Match]:
    return _windows(lines, wanted, str.rstrip)


def _indentation(lines: Lines, wanted: Lines) -> Iterator[Match]:
    for match in _windows(lines, wanted, str.strip):
        shift = _uniform_shift(lines[match.start : match.end], wanted)
        if shift is not None:
            yield Match(match.start, match.end, shift)


def _blank_lines(lines: Lines, wanted: Lines) -> Iterator[Match]:
    at = [i for i, line in enumerate(lines) if line.strip()]
    for match in _indentation([lines[i] for i in at], [line for line in wanted if line.strip()]):
        yield Match(at[match.start], at[match.end - 1] + 1, match.shift)


def _windows(lines: Lines, wanted: Lines, form: Callable[[str], str]) -> Iterator[Match]:
    """Yield each run of lines that equals `wanted` after `form` is applied to both."""
    have, want = [form(line) for line in lines], [form(line) for line in wanted]
    for start in range(len(have) - len(want) + 1):
        if have[start : start + len(want)] == want:
            yield Match(start, start + len(want))


def _uniform_shift(have: Lines, want: Lines) -> int | None:
    """Return by how many columns every line of `have` is indented more than `want`; None when lines differ in that."""
    shifts = {_indent(a) - _indent(b) for a, b in zip(have, want, strict=True) if a.strip()}
    return shifts.pop() if len(shifts) == 1 else None


def _shifted(lines: Lines, shift: int, label: str) -> list[str]:
    if shift < 0 and any(line.strip() and _indent(line) < -shift for line in lines):
        raise EditError(
            f"{label}: the indentation of REPLACE does not fit the file. Indent both parts as the file does."
        )
    return [(" " * shift + line if shift > 0 else line[-shift:]) if line.strip() else line for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


# --- error messages ---------------------------------------------------------------------------------------------------


def _several(label: str, matches: Sequence[Match]) -> str:
    where = ", ".join(str(match.start + 1) for match in matches[:MOST_LISTED])
    where += ", ..." if len(matches) > MOST_LISTED else ""
    return (
        f"{label}: it matches {len(matches)} places, at lines {where}. "
        "Copy more lines around the one you mean, so that it matches once."
    )


def _nothing(label: str, lines: Lines, wanted: Lines) -> str:
    start = _closest(lines, wanted)
    if start is None:
        return f"{label}: nothing in the file is like it. Copy the lines from the file, character by character."
    end = min(len(lines), start + len(wanted))
    where = f"are lines {start + 1} to {end}" if end > start + 1 else f"is line {end}"
    shown = "\n".join(lines[start : min(end, start + MOST_SHOWN)])
    return f"{label}: it matches nothing. The closest {where}; copy exactly:\n{shown}"


def _closest(lines: Lines, wanted: Lines) -> int | None:
    """Return where the lines start that share most with `wanted`, else the line most similar to one of them."""
    want = [line.strip()[:LONGEST] for line in wanted]
    have = [line.strip()[:LONGEST] for line in lines]
    starts = range(max(1, len(have) - len(want) + 1))
    shared = [sum(bool(b) and a == b for a, b in zip(have[i:], want, strict=False)) for i in starts]
    if max(shared):
        return shared.index(max(shared))
    for offset, line in enumerate(want[:MOST_COMPARED]):
        if line and (similar := get_close_matches(line, have, n=1, cutoff=0.6)):
            return max(0, have.index(similar[0]) - offset)
    return None
