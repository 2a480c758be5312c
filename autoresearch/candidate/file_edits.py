"""Apply one edit to the text of one file. No I/O."""

from __future__ import annotations

import re

from autoresearch.candidate import matching, python_constants, syntax
from autoresearch.errors import EditError, NothingNewError, SourceError
from autoresearch.records import ReplaceDefinition, SearchReplace, WholeFile

TextEdit = SearchReplace | ReplaceDefinition | WholeFile

_PROSE = (".md", ".txt", ".rst")  # ends of files in which dots alone on a line may be meant

# Comments with which a model leaves out code that it does not repeat.
_OMITTED = re.compile(
    r"\s*(?:#|//|--|/\*|<!--)\s*(?:\.\.\.|…"
    r"|(?:the )?(?:rest|remaining|remainder|existing|other|previous)\b.{0,20}"
    r"\b(?:code|file|function|class|model|definitions|imports|methods|implementation|unchanged|same)\b"
    r"|.{0,40}\b(?:unchanged|same as before|as before|omitted)\W*\Z)",
    re.IGNORECASE,
)


def applied(text: str, edit: TextEdit, label: str, original: str, path: str = "train_mlx.py") -> str:
    """Return `text` with the edit applied; `original` is the text before any edit, `label` names the edit in errors.

    Windows' line ends stay. Raises EditError when the edit does not apply.
    """
    if "\r\n" in text:
        done = applied(text.replace("\r\n", "\n"), edit, label, original.replace("\r\n", "\n"), path)
        return done.replace("\r\n", "\n").replace("\n", "\r\n")
    match edit:
        case SearchReplace(search, replacement):
            if not path.endswith(_PROSE):
                _check_complete(replacement, original, label)
            if search == replacement:
                raise NothingNewError(f"{label}: SEARCH and REPLACE are the same. Change something or leave it out.")
            return _replaced(text, search, replacement, label, path)
        case ReplaceDefinition(kind, name, body):
            if not path.endswith(".py"):
                raise EditError(f"{label}: {path} is not a Python file. Change it with a SEARCH/REPLACE block.")
            _check_complete(body, original, label)
            return matching.replace_definition(text, kind, name, body)
        case WholeFile(source):
            _check_complete(source, original, label)
            return source.rstrip("\n") + "\n" if source.strip() else ""


def fits(text: str, edit: TextEdit, path: str) -> bool:
    """Return whether a block or a definition has its one place in a text; a whole file always fits."""
    if isinstance(edit, WholeFile) or (isinstance(edit, ReplaceDefinition) and not path.endswith(".py")):
        return isinstance(edit, WholeFile)
    try:
        applied(text, edit, "", text, path)
    except (EditError, SourceError):
        return False
    return True


def _replaced(text: str, search: str, replacement: str, label: str, path: str) -> str:
    """Replace the match of `search`; constants match by their values where their lines have comments."""
    if not search.strip() and not text.strip():
        return replacement.rstrip("\n") + "\n"  # there is no line to name
    try:
        return matching.replace(text, search, replacement, label)
    except EditError:
        if not path.endswith(".py") or (changed := _reassigned(text, search, replacement)) is None:
            raise
        return changed


def _reassigned(text: str, search: str, replacement: str) -> str | None:
    """Set the constants that both halves of a block assign; return None when the halves hold anything else.

    _reassigned("DEPTH = 4  # layers\\n", "DEPTH = 4", "DEPTH = 3") -> "DEPTH = 3  # layers\\n"

    Raises EditError when the file has other values than the first half.
    """
    try:
        old, new = python_constants.read(search), python_constants.literals(replacement)
        now = python_constants.read(text)
        alone = all(len(syntax.parse(half).body) == len(old) for half in (search, replacement))
    except SourceError:
        return None
    if not old or not alone or old.keys() != new.keys() or not old.keys() <= now.keys():
        return None
    for name, value in old.items():
        if now[name] != value:
            raise EditError(f"The file has {name} = {now[name]!r}, not {value!r}. To change it, write SET {name} = ...")
        text = python_constants.assign(text, name, new[name])
    return text


def _check_complete(new: str, original: str, label: str) -> None:
    """Refuse a comment or an ellipsis that stands for code the model did not repeat: applying it would delete the code.

    A line that the original holds as well is not such a comment.
    """
    known = set(original.split("\n"))
    for line in new.split("\n"):
        if line not in known and (_OMITTED.match(line) or line.strip() in ("...", "…")):
            raise EditError(f"{label}: `{line.strip()[:80]}` stands for code that is left out. Write all lines.")
