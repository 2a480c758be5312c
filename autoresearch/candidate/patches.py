"""Derive the edits that lead from one version of the editable files to another, so that a third can be edited likewise.

Constants that differ become SET edits. Every other change becomes SEARCH/REPLACE blocks, each with just enough lines
around it to match in one place, so that a patch depends as little as possible on the rest of the file. No I/O.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from autoresearch.candidate import constants, edits, python_constants, syntax
from autoresearch.candidate.matching import Lines
from autoresearch.candidate.pack import is_packed, unpack
from autoresearch.errors import EditError
from autoresearch.records import Edit, SearchReplace, Set, WholeFile

CONTEXTS = (0, 2, 6, 20)  # unchanged lines around a block, tried in turn

Literals = tuple[str | None, str | None]  # source text of a constant's value before and after; None: no such constant


@dataclass(frozen=True, slots=True)
class Patch:
    """The difference between two versions of the editable files."""

    constants: Mapping[str, Literals]  # those whose values differ
    edits: tuple[Edit, ...]  # SearchReplace in the order of the file, then Set
    touches: tuple[str, ...]  # definitions that the blocks change, e.g. "GPT.__call__"; with paths, "path:name", "path"
    code: str | None  # hash of the blocks' changed lines, the same in any file; None when only constants differ


@dataclass(frozen=True, slots=True)
class Hunk:
    """Old lines `start` to `end` that became new lines `new_start` to `new_end`; 0-based, ends excluded."""

    start: int
    end: int
    new_start: int
    new_end: int

    def old(self, lines: Lines) -> Lines:
        return lines[self.start : self.end]

    def new(self, lines: Lines) -> Lines:
        return lines[self.new_start : self.new_end]

    def grown(self, above: int, below: int) -> Hunk:
        """Add unchanged lines at both sides."""
        return Hunk(self.start - above, self.end + below, self.new_start - above, self.new_end + below)

    def joined(self, following: Hunk) -> Hunk:
        """Return one hunk from the start of this one to the later of both ends."""
        end = max(self.end, following.end)
        return Hunk(self.start, end, self.new_start, following.new_end + end - following.end)


def derive(parent: str, child: str) -> Patch:
    """Return the patch with which edits.apply(parent, patch.edits) computes what `child` computes.

    derive("A = 1\\nB = 2\\n", "A = 3\\nB = 2\\n").edits -> (Set("A", "3"),)

    Raises EditError when both compute the same or when blocks cannot express the change, and SourceError when one is
    not valid Python.
    """
    before, after = _literals(parent), constants.literals(child)
    literals = {name: (before.get(name), after.get(name)) for name in [*before, *after]}
    old_values, new_values = constants.read(parent), constants.read(child)
    differing = {n: both for n, both in literals.items() if repr(old_values.get(n)) != repr(new_values.get(n))}
    sets, rest = _without_settable(parent, child, literals, differing)
    changes = _changes(parent, rest)
    if not changes and not sets:
        raise EditError("the two versions do not differ")
    if not changes:
        return Patch(differing, tuple(sets), (), None)
    for context in CONTEXTS:
        patch: tuple[Edit, ...] = (*(block for change in changes for block in change.blocks(context)), *sets)
        if _leads_to(parent, patch, child):
            return Patch(
                differing, patch, tuple(name for change in changes for name in change.touched()), _hash(changes)
            )
    if is_packed(child):
        whole = tuple(WholeFile(unpack(child)[change.path], change.path) for change in changes)
        if _leads_to(parent, (*whole, *sets), child):
            touched = tuple(name for change in changes for name in change.touched())
            return Patch(differing, (*whole, *sets), touched, _hash(changes))
    raise EditError("the change cannot be expressed in blocks that each match in one place")


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines of one file before and after, and where they differ."""

    path: str  # empty for training's file
    old: Lines
    new: Lines
    hunks: Sequence[Hunk]

    def blocks(self, context: int) -> Iterator[SearchReplace | WholeFile]:
        """Yield the change as SEARCH/REPLACE blocks with that many unchanged lines around them, or as a whole file."""
        if not _stripped(self.old):  # there is no line to search
            yield WholeFile("\n".join(self.new), self.path or None)
            return
        for hunk in _unique_hunks(self.old, self.hunks, context):
            yield SearchReplace("\n".join(hunk.old(self.old)), "\n".join(hunk.new(self.new)), self.path or None)

    def touched(self) -> Iterator[str]:
        """Yield the definitions that the change is in; the path alone where a file has none."""
        if _is_python(self.path, self.old):
            prefix = f"{self.path}:" if self.path else ""
            yield from (prefix + name for name in _touched("\n".join(self.old), self.hunks))
        elif self.path:
            yield self.path


def _changes(parent: str, child: str) -> list[_Change]:
    """Return how the files of two sources differ, without Python's comments and layout."""
    before = unpack(parent) if is_packed(parent) else {"": parent}
    after = unpack(child) if is_packed(child) else {"": child}
    found = []
    for path, text in before.items():
        old, new = text.split("\n"), after[path].split("\n")
        new = _with_old_comments(old, new, python=_is_python(path, old) and _is_python(path, new))
        if hunks := _hunks(old, new):
            found.append(_Change(path, old, new, hunks))
    return found


def _is_python(path: str, lines: Lines) -> bool:
    return not path or constants.language(path, "\n".join(lines)) is python_constants


def _leads_to(parent: str, patch: Sequence[Edit], child: str) -> bool:
    try:
        return constants.normalised(edits.apply(parent, patch)) == constants.normalised(child)
    except EditError:  # the lines that one block adds can be what a later one searches
        return False


# --- constants --------------------------------------------------------------------------------------------------------


@lru_cache(8)
def _literals(parent: str) -> dict[str, str]:
    """Return the constants of a parent; they are cached, since many experiments share one."""
    return constants.literals(parent)


def _without_settable(
    parent: str, child: str, literals: Mapping[str, Literals], differing: Mapping[str, Literals]
) -> tuple[list[Set], str]:
    """Return the SET edits that express a difference, and `child` with these constants as in the parent.

    Another spelling of the same value (`2**16`, `65536`) is put back as well, without an edit.
    """
    sets, rest = [], child
    for name, (old, new) in literals.items():
        if old is None or new is None or old == new:
            continue
        try:
            constants.assign(parent, name, new)
            rest = constants.assign(rest, name, old)
        except EditError:  # a value of another type, or two assignments: a block has to change the line
            continue
        if name in differing:
            sets.append(Set(name, new))
    return sets, rest


# --- blocks -----------------------------------------------------------------------------------------------------------


def _hunks(old: Lines, new: Lines) -> list[Hunk]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [Hunk(i1, i2, j1, j2) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"]


def _with_old_comments(old: Lines, new: Lines, *, python: bool) -> list[str]:
    """Return `new` with the old lines where only comments or blank lines differ, so that no block depends on them.

    In other languages than Python only blanks at the ends of lines are ignored.
    """
    lines: list[str] = []
    at = 0
    for hunk in _hunks(old, new):
        before, after = hunk.old(old), hunk.new(new)
        if python:
            same = _tokens(before) == _tokens(after) and _indents(before) == _indents(after)
        else:
            same = [line.rstrip() for line in before] == [line.rstrip() for line in after]
        lines += [*new[at : hunk.new_start], *(before if same else after)]
        at = hunk.new_end
    return [*lines, *new[at:]]


def _unique_hunks(old: Lines, hunks: Sequence[Hunk], context: int) -> list[Hunk]:
    """Grow each hunk by `context` lines and until its old text is unique in the file; join hunks that then touch."""
    unique: list[Hunk] = []
    for hunk in hunks:
        grown = hunk.grown(above=min(context, hunk.start), below=min(context, len(old) - hunk.end))
        grown = _grown_until_unique(old, grown)
        while unique and grown.start <= unique[-1].end:
            grown = _grown_until_unique(old, unique.pop().joined(grown))
        unique.append(grown)
    return unique


def _grown_until_unique(old: Lines, hunk: Hunk) -> Hunk:
    """Add one line above and one below in turn."""
    above = False
    while not _is_unique(old, hunk.old(old)) and (hunk.start > 0 or hunk.end < len(old)):
        above = not above
        upwards = (above and hunk.start > 0) or hunk.end == len(old)
        hunk = hunk.grown(above=1, below=0) if upwards else hunk.grown(above=0, below=1)
    return hunk


def _is_unique(old: Lines, wanted: Lines) -> bool:
    """Return whether the lines match one place only when indentation and blank lines are ignored, as in matching.py."""
    want, have = _stripped(wanted), _stripped(old)
    places = sum(have[i : i + len(want)] == want for i in range(len(have) - len(want) + 1))
    return bool(want) and places == 1


def _stripped(lines: Lines) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


# --- what a patch changes, wherever it applies ------------------------------------------------------------------------


def _touched(parent: str, hunks: Sequence[Hunk]) -> Iterator[str]:
    """Yield the innermost named definition of each hunk once; "module" for a hunk outside of all definitions."""
    definitions = syntax.definitions(syntax.parse(parent))
    places = [(name, node.lineno, node.end_lineno or node.lineno) for name, node in definitions]
    inside = (
        [name for name, first, last in places if first <= max(hunk.end, hunk.start + 1) and hunk.start < last]
        for hunk in hunks
    )
    yield from dict.fromkeys(names[-1] if names else "module" for names in inside)


def _hash(changes: Sequence[_Change]) -> str:
    """Hash the lines that the hunks remove and add; comments and layout of Python do not count."""
    code: list[object] = []
    for change in changes:
        form = _tokens if _is_python(change.path, change.old) else _stripped
        code += [change.path] if change.path else []
        code += [(form(hunk.old(change.old)), form(hunk.new(change.new))) for hunk in change.hunks]
    return hashlib.sha256(repr(code).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _tokens(lines: Lines) -> list[str]:
    """Return the tokens of the lines without comments, indentation and line ends."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(line.strip() for line in lines)).readline))
    except (tokenize.TokenError, SyntaxError):  # a part of a longer expression or string
        return _stripped(lines)
    return [token.string for token in tokens if token.string.strip() and token.type != tokenize.COMMENT]


def _indents(lines: Lines) -> list[int]:
    """Return the indentation of each line of code, in columns."""
    return [len(line) - len(line.lstrip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
