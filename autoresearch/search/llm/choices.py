"""Ask a model to choose from a menu, and read its choice: by the name of an entry, or by its number. No I/O.

The answer is one JSON object, which the server holds to a schema where it can. Its keys come back in alphabetical
order from some servers, so the reason is called `because`: it is written before the `choice`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autoresearch.errors import EditError
from autoresearch.formats import counted
from autoresearch.records import CATEGORIES, HYPOTHESIS_CHARS
from autoresearch.search.llm import channels, fields, forms, replies
from autoresearch.search.llm.backend import Schema
from autoresearch.search.llm.replies import ParsedReply
from autoresearch.search.menu import MenuEntry

BECAUSE_CHARS = 300
MOST_OBJECTS = 20  # JSON objects of an answer that are looked at
MOST_NESTED = 4  # of them inside of each other
REASONS = ("because", "hypothesis", "why", "reason")
CHOICES = ("choice", "change", "number", "option", "answer", "title")

# Each pattern matches in linear time.
_PAIR = re.compile(  # a key with its value, where the object around them is damaged
    r"\b(because|choice)[\"']?\s*:\s*(?:\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|(\d{1,3}))\s*(?=[,}\n]|\Z)", re.IGNORECASE
)
_CHOICE = re.compile(r"[\s*_#`>\"'-]*CHOICE[\"'*_ ]*[:=](.*)", re.IGNORECASE)  # of one line
_NUMBER = re.compile(  # a line that begins with one
    r"[\s*_#`>\"'\[(-]*(?<!-)(\d{1,3})(?![\d.]*\d)[\])\"'*_`:.,]*(?:\s(.*))?"
)
_WORDS = re.compile(  # before a choice
    r"(?:(?:i|would|will|choose|pick|select|set|change|option|number|choice|line|entry|my|the|is)\b[\s:]{0,4})+",
    re.IGNORECASE,
)
_REMARK = re.compile(r"(?:,? (?:because|since)\b|\s\(|\s[-–—:]\s).*", re.DOTALL | re.IGNORECASE)  # behind a choice
_SETTING = re.compile(r"^\W{0,4}SET\s", re.MULTILINE)


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
    because, told = _told(text)
    entry = _only([_chosen(choice, entries) for choice in told]) if told else _in_prose(text, entries)
    because = "" if _plain(because) in _plain(forms.MENU) else because  # some repeat what they are asked for
    if entry is not None:
        hypothesis = fields.plain_line(" ".join(filter(None, (because, entry.why))), HYPOTHESIS_CHARS)
        return ParsedReply(entry.title, hypothesis, entry.category, entry.edits)
    choice = told[0] if told else None
    try:  # a value that is not on the list may be new all the same
        edit = f"SET {choice.removeprefix('SET ')}" if isinstance(choice, str) else text
        parsed = replies.parse(edit, whole_file=False, files=files, categories=categories)
    except EditError as error:
        shown = f"`{str(choice)[:60]}`" if choice is not None else "The answer"
        raise EditError(
            f"{shown} names none of the {counted(len(entries), 'change')} that are listed. Choose one by its line or "
            'number, like this: {"because": "...", "choice": "' + entries[0].title + '"}'
        ) from error
    return replace(parsed, hypothesis=parsed.hypothesis or fields.plain_line(because, HYPOTHESIS_CHARS))


def _only(chosen: Sequence[MenuEntry | None]) -> MenuEntry | None:
    """Return the entry that all choices name, None where they name none. Raises EditError when they differ."""
    found = {entry.title: entry for entry in chosen if entry is not None}
    if len(found) > 1:
        raise EditError(f"The answer chooses {' and '.join(list(found)[:3])}. Choose one change.")
    return next(iter(found.values()), None)


def _told(text: str) -> tuple[str, list[int | str]]:
    """Return the reason and the choices that the JSON of a text names: of its objects, damaged ones as well."""
    found, at = list[tuple[str, Any]](), 0
    for _ in range(MOST_OBJECTS):
        if (at := text.find("{", at)) < 0:
            break
        try:
            value, at = json.JSONDecoder().raw_decode(text, at)
            found.append(_fields(value))
        except (ValueError, RecursionError):
            at += 1
    if "{" not in text:
        found = [("", _bare(text))]
    elif not any(_is_choice(choice) for _, choice in found):
        pairs = {key.lower(): double or single or number for key, double, single, number in _PAIR.findall(text)}
        found.append((pairs.get("because", ""), pairs.get("choice")))
    told = [(because, choice) for because, choice in found if _is_choice(choice)]
    return next((because for because, _ in told if because), ""), [choice for _, choice in told]


def _bare(text: str) -> Any:
    """Return the JSON value that a text is, or the only one in a list."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _fields(value: Any) -> tuple[str, Any]:
    """Return reason and choice of an object, which may be inside of others or of a list of one."""
    because = ""
    for _ in range(MOST_NESTED):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            break
        known = {str(key).lower(): item for key, item in value.items()}
        because = next((known[key] for key in REASONS if isinstance(known.get(key), str)), because)
        inner = [item for item in known.values() if isinstance(item, dict)]
        value = next((known[key] for key in CHOICES if key in known), inner[0] if len(inner) == 1 else None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return because, value


def _is_choice(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def _chosen(choice: int | str, entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the entry with that title or number.

    "12", "option 12", "12. DEPTH = 2", "depth=2", "Set DEPTH to 2" and "DEPTH = 2, because ..." are understood.
    """
    if isinstance(choice, int):
        return entries[choice - 1] if 1 <= choice <= len(entries) else None
    known = {_plain(entry.title): entry for entry in entries}
    without = _WORDS.sub("", choice.strip(" `*\"'"), count=1) if _WORDS.match(choice.strip(" `*\"'")) else choice
    for text in dict.fromkeys((choice, without)):
        if found := known.get(_plain(text)) or known.get(_plain(_REMARK.sub("", text))):
            return found
    if (match := _NUMBER.fullmatch(without)) is None:
        return None
    said = _REMARK.sub("", f" {(match[2] or '').lstrip(' -–—:')}").strip()
    return known.get(_plain(said)) if said else _chosen(int(match[1]), entries)


def _in_prose(text: str, entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the one entry that a text without JSON chooses: on a CHOICE line, on a line of its own, or by its title.

    A text that sets several constants is not a choice. Raises EditError for several choices.
    """
    lines = text.split("\n")
    for line in lines:
        if (match := _CHOICE.fullmatch(line)) and match[1].count('"') != 1:  # else it is cut off
            return _chosen(match[1].strip(' `*"'), entries)
    if len(_SETTING.findall(text)) > 1:
        return None
    found = [_chosen(line.strip(' `*"-.'), entries) for line in lines]
    titles = _titles_in(text, entries) if "{" not in text else []  # in a damaged object the title may be cut off
    return _only(found if any(found) else titles)


def _titles_in(text: str, entries: Sequence[MenuEntry]) -> list[MenuEntry]:
    """Return the entries whose titles stand in a text, without those that are the beginning of a longer one there."""
    spans = [
        (entry, at.span())
        for entry in entries
        for at in re.finditer(rf"(?<![\w.]){re.escape(entry.title)}(?!\w|\.\d)", text, re.IGNORECASE)
    ]
    return [
        entry
        for entry, (start, end) in spans
        if not any(a <= start and end <= b and b - a > end - start for _, (a, b) in spans)
    ]


def _plain(text: str) -> str:
    """Return a title in a form to compare: " SET Depth=2. " -> "depth=2", "depth to 2" -> "depth=2"."""
    text = re.sub(r"->|→|:=?|\bto\b", "=", text.removeprefix("SET "))
    return re.sub(r"[\s`*\"']+", "", text).rstrip(".,;").casefold()
