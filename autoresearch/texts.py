"""Read text as people save it: with or without the mark of an encoding, with any line ends.

UTF-8 is assumed where no mark says otherwise, except for text whose every other byte is zero: that is UTF-16 without
its mark. What cannot be read becomes LOST, which callers count and report.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from autoresearch.errors import SourceError

LOST = "\N{REPLACEMENT CHARACTER}"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BEGINNING = 64 * 1024  # bytes by which an encoding is told
BLOCK = 2**20  # characters read at a time


class NotText(ValueError):
    """A file holds zero bytes where its encoding has none, as pictures, programs and sparse files do."""


def decode(data: bytes) -> str:
    """Return the text of a file's content, with `\\n` at the end of lines and LOST for what cannot be read.

    >>> decode("Ü\\r\\n".encode("utf-16"))
    'Ü\\n'
    """
    try:
        return "".join(_blocks(io.BytesIO(data)))
    except NotText:
        text = data.decode("utf-8", "replace").replace("\0", LOST)
        return text.replace("\r\n", "\n").replace("\r", "\n")


def complaint(text: str, name: str) -> str | None:
    """Return a sentence on what was lost in a text, with the count and the first line; None where nothing was."""
    count = text.count(LOST)
    if not count:
        return None
    line = text.count("\n", 0, text.index(LOST)) + 1
    some = "1 character" if count == 1 else f"{count:,} characters"
    return f"{some} of {name} cannot be read, the first in line {line}. Save it as UTF-8"


def source(data: bytes, name: str) -> str:
    """Return the text of a Python file. Raises SourceError, with the line, where it is not UTF-8."""
    text = decode(data)
    if LOST in text and LOST.encode() not in data:
        raise SourceError(complaint(text, name) or name)
    return text


def blocks(path: Path) -> Iterator[str]:
    """Yield a file's text in parts of at most BLOCK characters, read as `decode` does. Raises OSError and NotText."""
    with path.open("rb") as file:
        yield from _blocks(file)


def lines(path: Path) -> Iterator[str]:
    """Yield a file's lines without their ends. Raises OSError and NotText."""
    rest = ""
    for block in blocks(path):
        *whole, rest = (rest + block).split("\n")
        yield from whole
    if rest:
        yield rest


def _blocks(file: IO[bytes]) -> Iterator[str]:
    beginning = file.read(BEGINNING)
    encoding, mark = _encoding(beginning)
    if encoding == "utf-8" and b"\0" in beginning:
        raise NotText("it holds zero bytes")
    file.seek(len(mark))
    reader = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None)
    try:
        while block := reader.read(BLOCK):
            yield block.replace("\0", LOST)
    finally:
        reader.detach()


def _encoding(beginning: bytes) -> tuple[str, bytes]:
    """Return the encoding of a file that begins so, and the mark that says it (empty without one)."""
    for mark, encoding in MARKS:
        if beginning.startswith(mark):
            return encoding, mark
    pairs = len(beginning) // 2
    zeros = [beginning[first : 2 * pairs : 2].count(0) for first in (0, 1)]
    if pairs > 1 and max(zeros) > 0.7 * pairs and min(zeros) < 0.05 * pairs:  # Latin text; a run of zeros has both
        return ("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"), b""
    return "utf-8", b""


def brief(path: Path) -> str:
    """Return the person's brief, word for word; empty where there is none that can be read."""
    try:
        return decode(path.read_bytes())
    except OSError:  # it may be edited, moved or locked at any moment of the night
        return ""
