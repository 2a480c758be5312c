"""Apply edits to the editable file, and write them out as a model's reply would. No I/O.

search/llm/replies.py reads edits from a model's reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from autoresearch.candidate import constants, edit_markers, matching, syntax
from autoresearch.errors import EditError, NothingNewError, SourceError
from autoresearch.records import Edit, ReplaceDefinition, SearchReplace, Set, WholeFile

REQUIRED_FUNCTIONS = ("build_model", "train")  # what the harness calls; an edit may change but not remove them

# Comments with which a model leaves out code that it does not repeat.
_OMITTED = re.compile(
    r"\s*(?:#|//)\s*(?:\.\.\.|…"
    r"|(?:the )?(?:rest|remaining|remainder|existing|other|previous)\b.{0,20}"
    r"\b(?:code|file|function|class|model|definitions|imports|methods|implementation|unchanged|same)\b"
    r"|.{0,40}\b(?:unchanged|same as before|as before|omitted)\W*\Z)",
    re.IGNORECASE,
)


def apply(source: str, edits: Sequence[Edit]) -> str:
    """Return `source` with all of `edits`: blocks and definitions in the given order, then the constants.

    apply("DEPTH = 8\\n...", [Set("DEPTH", "6")]) -> "DEPTH = 6\\n..."

    Raises EditError when an edit does not apply, or when all of them together change nothing, leave invalid Python or
    remove a required function.
    """
    if not edits:
        raise EditError("There is no edit to apply.")
    try:
        text = _applied_in_order(source, edits)
        lost = _defined_names(source) - _defined_names(text)
        unchanged = constants.normalised(text) == constants.normalised(source)
    except SourceError as error:
        raise EditError(f"With these edits the file is {error}") from error
    if missing := [f"def {name}" for name in REQUIRED_FUNCTIONS if name in lost]:
        raise EditError(f"With these edits the file lacks {' and '.join(missing)}, which have to stay.")
    if unchanged:
        raise NothingNewError("The edits change nothing but comments or layout. Change what the program does.")
    return text


def settled(source: str, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return `edits` as they change `source`: without constants that keep their value, and with formulas evaluated.

    settled("A = 1\nB = 2\n", [Set("A", "1"), Set("B", "B * 2")]) -> (Set("B", "4"),)

    If all edits keep what there is, they are returned as they are. Raises EditError for a constant that cannot be set.
    """
    try:
        now, text, kept = constants.read(source), source, list[Edit]()
        for edit in edits:
            if isinstance(edit, Set) and edit.name in now:
                text = constants.assign(text, edit.name, edit.literal)
                if constants.read(text)[edit.name] == now[edit.name]:
                    continue
                edit = Set(edit.name, constants.literals(text)[edit.name])
            kept.append(edit)
    except SourceError as error:
        raise EditError(f"The file is {error}") from error
    return tuple(kept) or tuple(edits)


def render(edits: Sequence[Edit]) -> str:
    """Write edits as the text of a reply, from which replies.parse reads the same edits.

    render([Set("DEPTH", "6")]) -> "SET DEPTH = 6\\n"

    Raises EditError for a block that holds a line which reads as a marker.
    """
    return "\n\n".join(_rendered(edit) for edit in edits) + "\n"


def _applied_in_order(source: str, edits: Sequence[Edit]) -> str:
    text, blocks = source, 0
    for edit in sorted(edits, key=lambda edit: isinstance(edit, Set)):  # constants last: a block may define one
        blocks += isinstance(edit, SearchReplace)
        text = _applied(text, edit, f"SEARCH block {blocks}", source)
    return text


def _applied(text: str, edit: Edit, label: str, original: str) -> str:
    match edit:
        case Set(name, literal):
            return _assigned(text, name, literal, original)
        case SearchReplace(search, replacement):
            _check_complete(replacement, original, label)
            if search == replacement:
                raise NothingNewError(f"{label}: SEARCH and REPLACE are the same. Change something or leave it out.")
            return _replaced(text, search, replacement, label)
        case ReplaceDefinition(kind, name, body):
            _check_complete(body, original, f"REPLACE {kind} {name}")
            return matching.replace_definition(text, kind, name, body)
        case WholeFile(source):
            _check_complete(source, original, "The file")
            return source.rstrip("\n") + "\n"


def _replaced(text: str, search: str, replacement: str, label: str) -> str:
    """Replace the match of `search`; constants match by their values where their lines have comments."""
    try:
        return matching.replace(text, search, replacement, label)
    except EditError:
        if (changed := _reassigned(text, search, replacement)) is None:
            raise
        return changed


def _reassigned(text: str, search: str, replacement: str) -> str | None:
    """Set the constants that both halves of a block assign; return None when the halves hold anything else.

    _reassigned("DEPTH = 4  # layers\\n", "DEPTH = 4", "DEPTH = 3") -> "DEPTH = 3  # layers\\n"

    Raises EditError when the file has other values than the first half.
    """
    try:
        old, new, now = constants.read(search), constants.literals(replacement), constants.read(text)
        alone = all(len(syntax.parse(half).body) == len(old) for half in (search, replacement))
    except SourceError:
        return None
    if not old or not alone or old.keys() != new.keys() or not old.keys() <= now.keys():
        return None
    for name, value in old.items():
        if now[name] != value:
            raise EditError(f"The file has {name} = {now[name]!r}, not {value!r}. To change it, write SET {name} = ...")
        text = constants.assign(text, name, new[name])
    return text


def _assigned(text: str, name: str, literal: str, original: str) -> str:
    changed = constants.assign(text, name, literal)
    old = constants.read(original)
    if name in old and old[name] == constants.read(changed)[name]:
        raise NothingNewError(f"SET {name} = {literal} changes nothing: it has that value now. Change it.")
    return changed


def _defined_names(source: str) -> set[str]:
    return {name for name, _ in syntax.definitions(syntax.parse(source))}


def _check_complete(new: str, original: str, label: str) -> None:
    """Refuse a comment or an ellipsis that stands for code the model did not repeat: applying it would delete the code.

    A line that the original holds as well is no such comment.
    """
    known = set(original.split("\n"))
    for line in new.split("\n"):
        if line not in known and (_OMITTED.match(line) or line.strip() in ("...", "…")):
            raise EditError(f"{label}: `{line.strip()[:80]}` stands for code that is left out. Write all lines.")


def _rendered(edit: Edit) -> str:
    match edit:
        case Set(name, literal):
            return f"SET {name} = {' '.join(literal.split())}"
        case SearchReplace():
            if line := edit_markers.ambiguous_line(edit):
                raise EditError(f"`{line}` reads as a marker and cannot stand in a SEARCH/REPLACE block.")
            return edit_markers.block(edit)
        case ReplaceDefinition(kind, name, body):
            return f"REPLACE {kind} {name}\n{_fenced(body)}"
        case WholeFile(source):
            return _fenced(source)


def _fenced(body: str) -> str:
    """Put a Markdown fence around `body` that is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{body}\n{fence}"
