"""Match paths below a task's folder against the patterns of task.toml. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|.", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = _PARTS.findall(pattern.removeprefix("./").rstrip("/"))
    text = "".join(_MEANING.get(part) or re.escape(part) for part in parts)
    return re.compile(f"{text}(?:/.*)?", re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern names a file, or a folder above it.

    >>> matches("site/**/*.css", "site/a/b.css"), matches("labels/", "labels/a.json"), matches("*.py", "a/b.py")
    (True, True, False)
    """
    return _compiled(pattern).fullmatch(path) is not None


def matching(patterns: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the paths that any pattern names, in the order of the patterns, and for each pattern sorted."""
    known = sorted(paths)
    found = (path for pattern in patterns for path in known if matches(pattern, path))
    return list(dict.fromkeys(found))
