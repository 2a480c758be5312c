"""What changed between two versions of the editable file, as edits that can be tried on a third. Pure.

The constants that differ become SET edits; what is left becomes SEARCH/REPLACE blocks with just enough lines around
them to stand in one place. So a change says nothing of the rest of the file it was found in.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from autoresearch.candidate import constants, edits
from autoresearch.errors import EditError
from autoresearch.records import Edit, SearchReplace, Set

Lines = Sequence[str]
CONTEXTS = (0, 2, 6, 20)  # unchanged lines around a block, at least; tried in turn
Hunk = tuple[int, int, int, int]  # old lines i1..i2 became new lines j1..j2, ends excluded


@dataclass(frozen=True, slots=True)
class Patch:
    """`constants`: source text of each value that differs, (before, after), None where there is no such constant."""

    constants: Mapping[str, tuple[str | None, str | None]]
    edits: tuple[Edit, ...]  # SearchReplace in the order of the file, then Set
    touches: tuple[str, ...]  # definitions that the blocks are in, e.g. "GPT.__call__"
    code: str | None  # a hash of the blocks' changed lines; None where only constants differ


def derive(parent: str, child: str) -> Patch:
    """The patch from `parent` to `child`: edits.apply(parent, patch.edits) computes what `child` computes.

    derive("A = 1\\nB = 2\\n", "A = 3\\nB = 2\\n").edits -> (Set("A", "3"),)

    Raises EditError where they compute the same, or where a block finds no place of its own.
    """
    before, after = _literals(parent), constants.literals(child)
    pairs = {name: (before.get(name), after.get(name)) for name in [*before, *after]}
    differ = {name: (a, b) for name, (a, b) in pairs.items() if _value(a) != _value(b)}
    sets, rest = _settable(child, {name: (a, b) for name, (a, b) in pairs.items() if a != b})
    old = parent.split("\n")
    new = _kept_comments(old, rest.split("\n"))
    hunks = _hunks(old, new)
    if not hunks:
        if not sets:
            raise EditError("the two versions do not differ")
        return Patch(differ, tuple(sets), (), None)
    for context in CONTEXTS:
        patch: tuple[Edit, ...] = (*(_block(old, new, hunk) for hunk in _alone(old, hunks, context)), *sets)
        try:
            if constants.normalised(edits.apply(parent, patch)) == constants.normalised(child):
                return Patch(differ, patch, tuple(_touched(parent, hunks)), _hash(old, new, hunks))
        except EditError:  # what an earlier block brings looks like what a later one searches
            continue
    raise EditError("the change cannot be said in blocks that each have a place of their own")


def _value(literal: str | None) -> str | None:
    """To compare by: `2**16` and `65536` are the same, 1 and 1.0 are not."""
    return None if literal is None else repr(constants.evaluate(literal))


def _settable(child: str, pairs: Mapping[str, tuple[str | None, str | None]]) -> tuple[list[Set], str]:
    """SET edits for the values that differ, where they can say it, and `child` with those constants as they were.

    Another spelling of the same value (`2**16`, `65536`) is put back too, and is no edit.
    """
    sets, rest = [], child
    for name, (old, new) in pairs.items():
        if old is None or new is None:
            continue
        try:
            constants.assign(f"{name} = {old}\n", name, new)
            rest = constants.assign(rest, name, old)
        except EditError:  # another type of value, or two assignments: the block with the line says it
            continue
        if _value(old) != _value(new):
            sets.append(Set(name, new))
    return sets, rest


@lru_cache(8)
def _literals(parent: str) -> dict[str, str]:
    """Remembered: many experiments have one parent."""
    return constants.literals(parent)


def _hunks(old: Lines, new: Lines) -> list[Hunk]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [(i1, i2, j1, j2) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"]


def _kept_comments(old: Lines, new: Lines) -> list[str]:
    """`new` with the old lines where only comments or blank lines differ: in a patch they would stand in the way."""
    lines, at = [], 0
    for i1, i2, j1, j2 in _hunks(old, new):
        same = _code(old[i1:i2]) == _code(new[j1:j2]) and _indents(old[i1:i2]) == _indents(new[j1:j2])
        lines += [*new[at:j1], *(old[i1:i2] if same else new[j1:j2])]
        at = j2
    return [*lines, *new[at:]]


def _alone(old: Lines, hunks: Sequence[Hunk], context: int) -> list[Hunk]:
    """Hunks with `context` unchanged lines, and more until each stands in one place; those that then touch are one."""
    grown: list[Hunk] = []
    for i1, i2, j1, j2 in hunks:
        above, below = min(context, i1), min(context, len(old) - i2)
        hunk = _grown(old, (i1 - above, i2 + below, j1 - above, j2 + below))
        while grown and hunk[0] <= grown[-1][1]:
            i1, last, j1, _ = grown.pop()
            end = max(last, hunk[1])
            hunk = _grown(old, (i1, end, j1, hunk[3] + end - hunk[1]))
        grown.append(hunk)
    return grown


def _grown(old: Lines, hunk: Hunk) -> Hunk:
    i1, i2, j1, j2 = hunk
    before = False
    while not _stands_alone(old, old[i1:i2]) and (i1 > 0 or i2 < len(old)):
        before = not before
        if (before and i1 > 0) or i2 == len(old):
            i1, j1 = i1 - 1, j1 - 1
        else:
            i2, j2 = i2 + 1, j2 + 1
    return i1, i2, j1, j2


def _stands_alone(old: Lines, wanted: Lines) -> bool:
    """Whether the lines stand in one place only, indentation and blank lines aside, as matching.py looks for them."""
    want, have = _bare(wanted), _bare(old)
    places = sum(have[i : i + len(want)] == want for i in range(len(have) - len(want) + 1))
    return bool(want) and places == 1


def _bare(lines: Lines) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _block(old: Lines, new: Lines, hunk: Hunk) -> SearchReplace:
    i1, i2, j1, j2 = hunk
    return SearchReplace("\n".join(old[i1:i2]), "\n".join(new[j1:j2]))


# --- what it is, wherever it stands -----------------------------------------------------------------------------------


def _touched(parent: str, hunks: Sequence[Hunk]) -> Iterator[str]:
    """The innermost named definitions that lose, gain or change lines; "module" for what is outside of all."""
    places = list(_definitions(constants.parse(parent)))
    inside = (
        [name for name, first, last in places if first < max(i2, i1 + 1) + 1 and i1 < last] for i1, i2, _, _ in hunks
    )
    yield from dict.fromkeys(names[-1] if names else "module" for names in inside)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """(name, first line, last line), 1-based; a class before its methods."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in tree.body:
        if isinstance(node, kinds):
            yield node.name, node.lineno, node.end_lineno or node.lineno
        if isinstance(node, ast.ClassDef):
            inner = [n for n in node.body if isinstance(n, kinds)]
            yield from ((f"{node.name}.{n.name}", n.lineno, n.end_lineno or n.lineno) for n in inner)


def _hash(old: Lines, new: Lines, hunks: Sequence[Hunk]) -> str | None:
    """The same for the same lines taken and given, in any file; None for none."""
    code = [(_code(old[i1:i2]), _code(new[j1:j2])) for i1, i2, j1, j2 in hunks]
    return hashlib.sha256(repr(code).encode("utf-8", "surrogatepass")).hexdigest()[:16] if code else None


def _code(lines: Lines) -> list[str]:
    """The tokens of the lines without comments, indentation and line ends."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(line.strip() for line in lines)).readline))
    except (tokenize.TokenError, SyntaxError):  # a part of a longer expression or string
        return _bare(lines)
    return [token.string for token in tokens if token.string.strip() and token.type != tokenize.COMMENT]


def _indents(lines: Lines) -> list[int]:
    """Columns that the lines of code are indented by."""
    return [len(line) - len(line.lstrip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
