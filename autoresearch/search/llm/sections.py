"""Find the lines of a reply that name the file of the edits behind them: `### path`. No I/O.

Small models write such a line with other marks: `## query.sql`, "**query.sql**:", "`query.sql`", "### File: query.sql".
A heading of a file that may not change is one, too, so that its edits are refused; other headings are prose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from autoresearch.candidate import edits
from autoresearch.errors import EditError

_HEADING = re.compile(r"\s{0,8}#{2,6}\s{1,8}(.{1,300})")
_WORD = re.compile(r"(?:(?:the )?file(?:name)?|path|in|edit|change)\b[\s:]{0,8}", re.IGNORECASE)  # before a path
_PATH = re.compile(r"[\w@./-]{0,200}[\w-]\.[A-Za-z]\w{0,10}|[\w@.-]{1,100}/[\w@./-]{1,200}")
_MARKS = " \t`*_:\"'"


def heading(line: str, files: Sequence[str]) -> str | None:
    """Return the path that a line names, None where it is not such a line.

    >>> heading("### `query.sql`", ["site/query.sql"]), heading("### Why", ["query.sql"])
    ('site/query.sql', None)

    A path that is none of `files` is returned as it is.
    """
    found = _HEADING.fullmatch(line)
    text = (found[1] if found else line.strip()[:300]).strip(_MARKS)
    if known := _known(text, files) or _known(_WORD.sub("", text, count=1).strip(_MARKS), files):
        return known
    text = _WORD.sub("", text, count=1).strip(_MARKS)
    return text if found and _PATH.fullmatch(text) else None


def in_marker(line: str, files: Sequence[str]) -> str | None:
    """Return the path in the first line of a block: "<<<<<<< SEARCH query.sql" -> "query.sql"."""
    words = line.strip(" \t<").split()
    return _known(words[-1], files) if words and words[-1] != "SEARCH" else None


def _known(text: str, files: Sequence[str]) -> str | None:
    if not text:
        return None
    try:
        return edits.file_of(files, text)
    except EditError:
        return None
