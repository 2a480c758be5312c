"""Read documents from files: plain text, lines of JSON, parquet. What is odd in them is counted in Remarks."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch import texts
from autoresearch.errors import DataError
from autoresearch.formats import counted, printable

PIECE = 4096  # characters: longer text files are cut into documents of at most this many
BATCH_ROWS = 1024  # parquet rows read at a time
TEXT = "text"  # the field or column that holds the text, where no other is named
MOST_NAMES, MOST_NAME = 20, 60  # fields or columns that an error names, and their characters
MOST_LINE = 64 * 2**20  # characters of one line of JSON


@dataclass
class Remarks:
    """Oddities of the files that were read last, by file: they are reported, and the rest of the text is used."""

    lost: dict[Path, int] = field(default_factory=dict)  # characters that could not be read
    empty: dict[Path, int] = field(default_factory=dict)  # rows without a text
    left_out: dict[Path, str] = field(default_factory=dict)  # files that are not text, with the reason

    def lines(self) -> list[str]:
        """Return a line for each kind of oddity: its count, and the file that has most of it."""
        found = []
        if self.lost:
            total, files, where = _summed(self.lost)
            found.append(f"{counted(total, 'character')} of {files} cannot be read and count as {texts.LOST}{where}")
        if self.empty:
            total, files, where = _summed(self.empty)
            found.append(f"{counted(total, 'row')} of {files} hold no text and are skipped{where}")
        if self.left_out:
            path, why = next(iter(self.left_out.items()))
            others = len(self.left_out) - 1
            more = f", and {counted(others, 'other file')}" if others else ""
            found.append(f"skipped, not a text file: {printable(str(path))} ({why}){more}")
        return found


def _summed(counts: Mapping[Path, int]) -> tuple[int, str, str]:
    """Return the sum, the number of files in words, and the file with the highest count, in brackets."""
    worst = max(counts, key=lambda path: counts[path])
    most = f" ({counts[worst]:,} in {printable(str(worst))})" if len(counts) > 1 else f" ({printable(str(worst))})"
    return sum(counts.values()), counted(len(counts), "file"), most


def _note(counts: dict[Path, int], path: Path, count: int) -> None:
    """Set the count of a file, which is read several times; 0 is not an oddity."""
    if count:
        counts[path] = count


def read_plain(path: Path, remarks: Remarks) -> Iterator[str]:
    """Yield a file as documents of at most PIECE characters, cut at paragraphs: one file must fill three splits."""
    rest, lost = "", 0
    try:
        for block in texts.blocks(path):
            lost += block.count(texts.LOST)
            *whole, rest = pieces(rest + block)
            yield from filter(str.strip, whole)
    except texts.NotText as error:
        remarks.left_out[path] = str(error)
    _note(remarks.lost, path, lost)
    if rest.strip():
        yield rest


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut `text` into parts of at most `size` characters.

    Each ends before a line that starts a paragraph or a top-level definition (not indented, after a blank line), where
    there is one in its second half; else at the end of a line, of a word, or anywhere.
    """
    start = 0
    while len(text) - start > size:
        middle, end = start + size // 2, start + size
        for boundary in (_PARAGRAPH, _LINE, _WORD):
            ends = [match.end() for match in boundary.finditer(text, middle, end)]
            if ends:
                end = ends[-1]
                break
        yield text[start:end]
        start = end
    yield text[start:]


_PARAGRAPH = re.compile(r"\n[ \t]*\n+(?=\S)")
_LINE = re.compile(r"\n")
_WORD = re.compile(r"\s")


def read_jsonl(path: Path, remarks: Remarks, column: str = TEXT) -> Iterator[str]:
    """Yield the field `column` of each line, where it is not null or blank. Raises DataError where a line has none."""
    lost = empty = 0
    try:
        for number, line in enumerate(texts.lines(path), 1):
            lost += line.count(texts.LOST)
            if not line.strip():
                continue
            text = _text_of(line, column, f"{path}, line {number}")
            if text.strip():
                yield text
            else:
                empty += 1
    except texts.NotText as error:
        remarks.left_out[path] = str(error)
    _note(remarks.lost, path, lost)
    _note(remarks.empty, path, empty)


def _text_of(line: str, column: str, where: str) -> str:
    """Return the text of a line of JSON, empty for null. Raises DataError."""
    row: Any = None
    if len(line) > MOST_LINE:
        raise DataError(f"{where}: {len(line):,} characters; expected one document a line")
    try:
        row = json.loads(line)
        text = "" if row is None else row[column]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        why = type(error).__name__ if isinstance(error, RecursionError) else repr(error)
        raise DataError(f'{where}: expected an object with a "{column}" field ({why}){_columns(row)}') from error
    if text is not None and not isinstance(text, str):
        raise DataError(f'{where}: "{column}" is not a string but {type(text).__name__}')
    return (text or "").encode("utf-8", "replace").decode()  # JSON can escape half a surrogate pair


def _columns(row: Any) -> str:
    """Say which fields or columns there are and how to name one, where there are any."""
    if not row or not isinstance(row, Mapping | list) or not all(isinstance(name, str) for name in row):
        return ""
    names = ", ".join(printable(name)[:MOST_NAME] for name in list(row)[:MOST_NAMES])
    return f"; it has {names}. Name the one that holds the text: prepare.py --text-column NAME"


def read_downloaded(path: Path) -> Iterator[str]:
    """Do as read_parquet does, and tell how to download a damaged file again."""
    return read_parquet(path, Remarks(), advice=f". Run: rm {shlex.quote(str(path.resolve()))} and prepare again")


def read_parquet(path: Path, remarks: Remarks, column: str = TEXT, advice: str = "") -> Iterator[str]:
    """Yield a column, in order, without empty rows. Raises DataError where the file has no such column."""
    import pyarrow
    import pyarrow.parquet

    lost = empty = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            kind = file.schema_arrow.field(column).type
            if not _is_text(kind.value_type if pyarrow.types.is_dictionary(kind) else kind):
                raise DataError(f"{path}: the column `{column}` holds {kind}, not strings")
            for batch in file.iter_batches(BATCH_ROWS, columns=[column]):
                values = batch.column(0)
                try:
                    found = values.to_pylist()
                except UnicodeDecodeError:
                    raw = values.cast(kind.value_type if pyarrow.types.is_dictionary(kind) else kind)
                    found = [v and v.decode("utf-8", "replace") for v in raw.cast(pyarrow.large_binary()).to_pylist()]
                    lost += sum(text.count(texts.LOST) for text in found if text)
                full = [text for text in found if text and text.strip()]
                empty += len(found) - len(full)
                yield from full
    except KeyError as error:
        raise DataError(f"{path} has no column `{column}`{_columns(file.schema_arrow.names)}") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}{advice}") from error
    _note(remarks.lost, path, lost)
    _note(remarks.empty, path, empty)


def _is_text(kind: object) -> bool:
    """Return whether an Arrow type holds strings."""
    import pyarrow

    tests = (pyarrow.types.is_string, pyarrow.types.is_large_string, getattr(pyarrow.types, "is_string_view", None))
    return any(test(kind) for test in tests if test is not None)


OWN_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")


def read(path: Path, remarks: Remarks, column: str = TEXT) -> Iterator[str]:
    """Yield the documents of a file by its suffix; `column` is where tables hold the text. Raises DataError."""
    match path.suffix.lower():
        case ".jsonl":
            return read_jsonl(path, remarks, column)
        case ".parquet":
            return read_parquet(path, remarks, column)
    return read_plain(path, remarks)
