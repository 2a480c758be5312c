"""Edits to the editable file: applied all or none, written out as a reply, kept as JSON. Pure.

`parse` reads them from a model's reply (replies.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autoresearch.candidate import constants, matching
from autoresearch.errors import EditError
from autoresearch.records import Edit, ReplaceDefinition, SearchReplace, Set, WholeFile
from autoresearch.search.llm.replies import FIXED, ParsedReply, parse, unrenderable

__all__ = ["ParsedReply", "apply", "from_json", "parse", "render", "to_json"]

# Comments with which a model leaves out code that it does not repeat.
_OMITTED = re.compile(
    r"\s*(?:#|//)\s*(?:\.\.\.|…"
    r"|(?:the )?(?:rest|remaining|remainder|existing|other|previous)\b.{0,20}"
    r"\b(?:code|file|function|class|model|definitions|imports|methods|implementation|unchanged|same)\b"
    r"|.{0,40}\b(?:unchanged|same as before|as before|omitted)\W*\Z)",
    re.IGNORECASE,
)


def apply(source: str, edits: Sequence[Edit]) -> str:
    """`source` with all `edits`: blocks and definitions in their order, then the constants.

    apply("DEPTH = 8\\n...", [Set("DEPTH", "6")]) -> "DEPTH = 6\\n..."

    Raises EditError where one of them does not apply, changes nothing, or leaves what Python cannot read.
    """
    if not edits:
        raise EditError("There is no edit to apply.")
    text, blocks = source, 0
    for edit in sorted(edits, key=lambda edit: isinstance(edit, Set)):
        blocks += isinstance(edit, SearchReplace)
        text = _applied(text, edit, f"SEARCH block {blocks}", source)
    try:
        lost = _defined(source) - _defined(text)
    except EditError as error:
        raise EditError(f"With these edits the file is {error}") from error
    if missing := [f"def {name}" for name in FIXED if name in lost]:
        raise EditError(f"With these edits the file lacks {' and '.join(missing)}, which have to stay.")
    if constants.normalised(text) == constants.normalised(source):
        raise EditError("The edits change nothing but comments or layout. Change what the program does.")
    return text


def render(edits: Sequence[Edit]) -> str:
    """Edits as the text of a reply: `parse(render(edits)).edits` are the same edits."""
    return "\n\n".join(_rendered(edit) for edit in edits) + "\n"


def to_json(edit: Edit) -> dict[str, str]:
    """to_json(Set("DEPTH", "6")) -> {"edit": "Set", "name": "DEPTH", "literal": "6"}"""
    return {"edit": type(edit).__name__, **asdict(edit)}


def from_json(obj: dict[str, Any]) -> Edit:
    """The inverse of `to_json`. Raises EditError for an edit that this version does not know."""
    fields = {key: value for key, value in obj.items() if key != "edit"}
    kinds: dict[str, type[Edit]] = {kind.__name__: kind for kind in (Set, SearchReplace, ReplaceDefinition, WholeFile)}
    try:
        return kinds[obj["edit"]](**fields)
    except (KeyError, TypeError) as error:
        raise EditError(f"not a known edit: {obj}") from error


def _applied(text: str, edit: Edit, label: str, original: str) -> str:
    match edit:
        case Set(name, literal):
            return _assigned(text, name, literal, original)
        case SearchReplace(search, replacement):
            _check_complete(replacement, original, label)
            if search == replacement:
                raise EditError(f"{label}: SEARCH and REPLACE are the same. Change something or leave the block out.")
            return matching.replace(text, search, replacement, label)
        case ReplaceDefinition(kind, name, body):
            _check_complete(body, original, f"REPLACE {kind} {name}")
            return matching.replace_definition(text, kind, name, body)
        case WholeFile(source):
            _check_complete(source, original, "The file")
            return source.rstrip("\n") + "\n"


def _defined(source: str) -> set[str]:
    return {name for statement in constants.parse(source).body if (name := getattr(statement, "name", None))}


def _assigned(text: str, name: str, literal: str, original: str) -> str:
    changed = constants.assign(text, name, literal)
    old = constants.read(original)
    if name in old and old[name] == constants.read(changed)[name]:
        raise EditError(f"SET {name} = {literal} changes nothing: it has that value now. Leave it out or change it.")
    return changed


def _check_complete(new: str, original: str, label: str) -> None:
    """Comments that stand for code which the model did not repeat would delete that code."""
    known = set(original.split("\n"))
    for line in new.split("\n"):
        if line not in known and (_OMITTED.match(line) or line.strip() in ("...", "…")):
            raise EditError(f"{label}: `{line.strip()[:80]}` stands for code that is left out. Write all lines.")


def _rendered(edit: Edit) -> str:
    match edit:
        case Set(name, literal):
            return f"SET {name} = {' '.join(literal.split())}"
        case SearchReplace(search, replacement):
            if line := unrenderable(edit):
                raise EditError(f"`{line}` reads as a marker and cannot stand in a SEARCH/REPLACE block.")
            middle = f"{replacement}\n" if replacement else ""
            return f"<<<<<<< SEARCH\n{search}\n=======\n{middle}>>>>>>> REPLACE"
        case ReplaceDefinition(kind, name, body):
            return f"REPLACE {kind} {name}\n{_fence(body)}"
        case WholeFile(source):
            return _fence(source)


def _fence(body: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{body}\n{fence}"
