"""Define the marker lines of a SEARCH/REPLACE block: how they are written, and which lines of a reply count as one.

edits.py writes the markers, search/llm/replies.py reads them. The patterns match a whole line and accept what models
make of the markers: another number of signs, a file name, trailing blanks. No I/O.
"""

from __future__ import annotations

import re

from autoresearch.records import SearchReplace

BEGIN, DIVIDER, END = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"

BEGIN_LINE = re.compile(r"\s*<{5,9}[\w./:\s]*")
DIVIDER_LINE = re.compile(r"\s*={5,9}\s*(?:REPLACE\s*)?", re.IGNORECASE)
END_LINE = re.compile(r"\s*>{5,9}[\w./:\s]*")


def block(edit: SearchReplace) -> str:
    """Write the edit as a block; an empty replacement leaves no line between divider and end.

    block(SearchReplace("a = 1", "a = 2")) -> "<<<<<<< SEARCH\\na = 1\\n=======\\na = 2\\n>>>>>>> REPLACE"
    """
    replacement = f"{edit.replace}\n" if edit.replace else ""
    return f"{BEGIN}\n{edit.search}\n{DIVIDER}\n{replacement}{END}"


def ambiguous_line(edit: SearchReplace) -> str | None:
    """Return the first line of the edit's own text that a reader of the block would take for a marker."""
    searched = [(line, marker) for line in edit.search.split("\n") for marker in (BEGIN_LINE, DIVIDER_LINE, END_LINE)]
    replaced = [(line, marker) for line in edit.replace.split("\n") for marker in (BEGIN_LINE, END_LINE)]
    return next((line for line, marker in [*searched, *replaced] if marker.fullmatch(line)), None)
