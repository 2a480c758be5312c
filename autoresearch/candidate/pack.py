"""Pack the files of a version into one text, and unpack them. No I/O.

A *source* is one text, so that it has one hash and one place in the journal. The source of training is train_mlx.py as
it is. That of a declared task is its files, each behind a line with its path and its length:

    === autoresearch source, 2 files
    === query.sql, 31 characters
    SELECT name FROM people LIMIT 5

    === indexes.sql, 0 characters

"""

from __future__ import annotations

import re
from collections.abc import Mapping

from autoresearch.errors import SourceError

_HEAD = re.compile(r"=== autoresearch source, (\d+) files?\n")
_FILE = re.compile(r"=== ([^\n]+), (\d+) characters\n")


def pack(files: Mapping[str, str]) -> str:
    """Return the source that holds `files`, path to text, in their order."""
    noun = "file" if len(files) == 1 else "files"
    parts = [f"=== {path}, {len(text)} characters\n{text}\n" for path, text in files.items()]
    return f"=== autoresearch source, {len(files)} {noun}\n{''.join(parts)}"


def is_packed(source: str) -> bool:
    """Return whether a source is of several files, or of one with its path."""
    return _HEAD.match(source) is not None


def unpack(source: str) -> dict[str, str]:
    """Return the files of a packed source. Raises SourceError for a text that `pack` did not make.

    >>> unpack(pack({"a.toml": "x = 1\\n"}))
    {'a.toml': 'x = 1\\n'}
    """
    head = _HEAD.match(source)
    if head is None:
        raise SourceError("not a packed source")
    files: dict[str, str] = {}
    at = head.end()
    for _ in range(int(head[1])):
        found = _FILE.match(source, at)
        if found is None:
            raise SourceError(f"a packed source breaks off at character {at}")
        end = found.end() + int(found[2])
        if source[end : end + 1] != "\n" or found[1] in files:
            raise SourceError(f"a packed source is broken in {found[1]}")
        files[found[1]], at = source[found.end() : end], end + 1
    if at != len(source):
        raise SourceError(f"a packed source has {len(source) - at} characters too many")
    return files


def readable(source: str) -> str:
    """Return a source for people to read: of a packed one, each file behind a line `### path`.

    >>> readable(pack({"a.toml": "x = 1\\n"}))
    '### a.toml\\nx = 1\\n'
    """
    if not is_packed(source):
        return source
    return "".join(f"### {path}\n{text}" for path, text in unpack(source).items())


def with_file(source: str, path: str, text: str) -> str:
    """Return a packed source with another text of one of its files."""
    return pack({**unpack(source), path: text})
