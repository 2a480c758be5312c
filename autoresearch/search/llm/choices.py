"""Ask a model to choose from a menu, and read its choice: by the name of an entry, or by its number. No I/O.

The answer is one JSON object, which the server holds to a schema where it can. Its keys come back in alphabetical
order from some servers, so the reason is called `because`: it is written before the `choice`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from autoresearch.errors import EditError
from autoresearch.formats import counted
from autoresearch.records import CATEGORIES, HYPOTHESIS_CHARS
from autoresearch.search.llm import channels, fields, replies
from autoresearch.search.llm.backend import Schema
from autoresearch.search.llm.replies import ParsedReply
from autoresearch.search.menu import MenuEntry

BECAUSE_CHARS = 300
_CHOICE = re.compile(r"[\s*_#`>\"'-]*CHOICE[\"'*_ ]*[:=](.*)", re.IGNORECASE)  # of one line
_NUMBER = re.compile(r"[\s*_#`>\"'\[(-]*(\d{1,3})(?![\d.]*\d)[\])\"'*_`:.]*(?:\s(.*))?")  # a line that begins with one


def schema(entries: Sequence[MenuEntry]) -> Schema:
    """Return the JSON schema of an answer."""
    titles = [entry.title for entry in entries]
    because = {"type": "string", "maxLength": BECAUSE_CHARS}
    return {
        "type": "object",
        "properties": {"because": because, "choice": {"type": "string", "enum": titles}},
        "required": ["because", "choice"],
        "additionalProperties": False,
    }


def listed(entries: Sequence[MenuEntry]) -> str:
    """Return the numbered menu: "1. DEPTH = 2\\n2. DEPTH = 3"."""
    return "\n".join(f"{number}. {entry.title}" for number, entry in enumerate(entries, start=1))


def read(
    text: str, entries: Sequence[MenuEntry], *, files: Sequence[str] = (), categories: Sequence[str] = CATEGORIES
) -> ParsedReply:
    """Return the entry that an answer chooses, with its reason as the hypothesis.

    >>> shallower = MenuEntry("DEPTH = 2", "depth", (Set("DEPTH", "2"),))
    >>> read('{"because": "More steps.", "choice": "DEPTH = 2"}', [shallower]).hypothesis
    'More steps.'

    An answer with edits of its own is read as replies.parse does. Raises EditError when it chooses nothing, or two.
    """
    text = channels.answer(text)
    because, choice = _object(text)
    found = _chosen(choice, entries) if choice is not None else _in_prose(text, entries)
    if found is None:
        try:  # a value that is not on the list may be new all the same
            edit = f"SET {choice.removeprefix('SET ')}" if isinstance(choice, str) else text
            return replies.parse(edit, whole_file=False, files=files, categories=categories)
        except EditError as error:
            shown = f"`{str(choice)[:60]}` is not on the list. " if choice else ""
            raise EditError(
                f"{shown}Choose one of the {counted(len(entries), 'change')} that are listed, by line or number, "
                'like this: {"because": "...", "choice": "' + entries[0].title + '"}'
            ) from error
    hypothesis = fields.plain_line(" ".join(filter(None, (because, found.why))), HYPOTHESIS_CHARS)
    return ParsedReply(found.title, hypothesis, found.category, found.edits)


def _object(text: str) -> tuple[str, Any]:
    """Return reason and choice of the first JSON value of the text; the choice is None without one."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    try:
        text = text[start:].strip()
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return "", None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return "", value if _is_choice(value) and end == len(text) else None
    fields = {str(key).lower(): item for key, item in value.items()}
    because = next((fields[key] for key in ("because", "hypothesis", "why", "reason") if key in fields), "")
    choice = next((fields[key] for key in ("choice", "change", "number", "title") if key in fields), None)
    return because if isinstance(because, str) else "", choice if _is_choice(choice) else None


def _is_choice(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _chosen(choice: int | str, entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the entry with that title or number; "12", "12. DEPTH = 2" and "depth=2" are understood."""
    if isinstance(choice, int):
        return entries[choice - 1] if 1 <= choice <= len(entries) else None
    known = {_plain(entry.title): entry for entry in entries}
    if found := known.get(_plain(choice)):
        return found
    if (match := _NUMBER.fullmatch(choice)) is None:
        return None
    said = _plain(match[2] or "")
    return known.get(said) if said else _chosen(int(match[1]), entries)


def _in_prose(text: str, entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the one entry that a text without JSON chooses, on a CHOICE line, else on a line of its own."""
    lines = text.split("\n")
    for line in lines:
        if match := _CHOICE.fullmatch(line):
            return _chosen(match[1].strip(' `*"'), entries)
    found = {entry.title: entry for line in lines if (entry := _chosen(line.strip(' `*"-'), entries)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _plain(text: str) -> str:
    """Return a title in a form to compare: " SET Depth=2. " -> "depth=2"."""
    return re.sub(r"[\s`*\"']+", "", text.removeprefix("SET ")).rstrip(".,;").casefold()
