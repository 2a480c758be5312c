"""Compare files of which nothing but the text is known: SQL, CSS, JavaScript, prose. They have no constants. No I/O."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from autoresearch.errors import EditError


def read(source: str) -> dict[str, Any]:
    """Return no constants."""
    return {}


def literals(source: str) -> dict[str, str]:
    """Return no constants."""
    return {}


def assign(source: str, name: str, literal: str) -> NoReturn:
    """Raise EditError: no file of these has constants."""
    raise EditError(f"SET {name}: this file has no constants or keys to set. Change it with a SEARCH/REPLACE block.")


def spelled(value: Any, like: str) -> str:
    """Write a value as Python does."""
    return repr(value)


def normalised(source: str) -> str:
    """Hash the text; blanks at the ends of lines and of the file do not count."""
    text = "\n".join(line.rstrip() for line in source.split("\n")).rstrip("\n")
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


structure = normalised
