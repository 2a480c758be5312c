"""Read documents: of the hub's datasets, of a person's own text, or of the running Python's standard library.

A source yields (split, text) pairs, one document each, always in the same order. The split of a document depends on
that document alone, so that adding text never moves a document from one split to another:

    climbmix      train: shards 0 upward; val and test: the pinned validation shard, divided by a hash of the text
    tinystories   the publisher's split by row: test (its own) 0..9,999, val 10,000..19,999, train the rest
    text, stdlib  a hash of the text: 4% val, 4% test, the rest train
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shlex
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autoresearch.errors import DataError, UsageError
from autoresearch.records import Say
from autoresearch.tasks.gpt.data import hub

HELD_OUT = 1 / 25  # share of the documents that goes to val, and to test
PIECE = 4096  # characters: longer text files are cut into documents of at most this many
LAST_SHARD = 6542  # climbmix's validation shard; the ones before it are for training
STORIES = 10_000  # rows of tinystories' test split, and of its validation split
BATCH_ROWS = 1024  # parquet rows read at a time

Documents = Iterator[tuple[str, str]]  # (split, text)


class Source(Protocol):
    """A corpus of documents."""

    @property
    def name(self) -> str:
        """Name of its folder in the cache."""
        ...

    @property
    def argument(self) -> str:
        """Its name or path as `--dataset` takes it."""
        ...

    @property
    def title(self) -> str:
        """Description for a person."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Facts that change when the text changes, found without reading it."""
        ...

    def fetch(self, report: Say, offline: bool) -> None:
        """Make the text available locally. Raises DataError."""
        ...

    def documents(self, splits: Collection[str]) -> Documents:
        """Yield the documents of these splits. Raises DataError where a file cannot be understood."""
        ...


def find(dataset: str, shards: int) -> Source:
    """Find the source that `--dataset` names. Raises UsageError where that is no known name, file or folder."""
    if dataset == "climbmix":
        return ClimbMix(shards)
    if dataset == "tinystories":
        return TinyStories()
    if dataset == "stdlib":
        return standard_library()
    path = Path(dataset).expanduser()
    if not dataset or not path.exists():
        raise UsageError(f"--dataset {dataset}: neither climbmix, tinystories, stdlib, nor an existing file or folder")
    return own_text(path.resolve())


def folder_name(dataset: str) -> str:
    """Name a data set's folder in the cache: climbmix -> climbmix; notes/ -> notes-1f0c39ae, by its absolute path.

    A name that is no path, such as notes-1f0c39ae, stays as it is.
    """
    path = Path(dataset).expanduser()
    if dataset in ("climbmix", "tinystories", "stdlib") or not path.exists():
        return dataset
    path = path.resolve()
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", path.stem if path.is_file() else path.name).strip("-.") or "text"
    return f"{stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def text_hash(text: str) -> int:
    """Hash a text into 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def split_of(text: str) -> str:
    """Assign a text to "train", "val" or "test" by its hash."""
    share = text_hash(text) / 2**64
    return "val" if share < HELD_OUT else "test" if share < 2 * HELD_OUT else "train"


# --- the hub's datasets ----------------------------------------------------------------------------------------------


@dataclass
class ClimbMix:
    """karpathy/climbmix-400b-shuffle: web text in 6,543 shuffled shards of about 100 MB."""

    shards: int
    name: str = field(default="climbmix", init=False)
    argument: str = field(default="climbmix", init=False)
    repo: str = field(default="karpathy/climbmix-400b-shuffle", init=False)
    paths: list[Path] = field(default_factory=list, init=False)  # the validation shard first

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= LAST_SHARD:
            raise UsageError(f"--shards {self.shards}: from 1 to {LAST_SHARD:,}")

    @property
    def title(self) -> str:
        return f"{self.repo}, {self.shards} training shard{'s' if self.shards > 1 else ''}"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"repo": self.repo, "shards": self.shards}

    def fetch(self, report: Say, offline: bool) -> None:
        names = [f"shard_{i:05d}.parquet" for i in (LAST_SHARD, *range(self.shards))]
        self.paths = hub.download(self.repo, names, report, offline)

    def documents(self, splits: Collection[str]) -> Documents:
        if "train" in splits:
            yield from (("train", text) for path in self.paths[1:] for text in read_downloaded(path))
        if set(splits) - {"train"}:
            for text in read_downloaded(self.paths[0]):
                split = "val" if text_hash(text) % 2 else "test"
                if split in splits:
                    yield split, text


@dataclass
class TinyStories:
    """karpathy/tinystories-gpt4-clean: 2.7 million short stories, shuffled, in one file of about 670 MB."""

    name: str = field(default="tinystories", init=False)
    argument: str = field(default="tinystories", init=False)
    title: str = field(default="karpathy/tinystories-gpt4-clean", init=False)
    path: Path | None = field(default=None, init=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"repo": self.title}

    def fetch(self, report: Say, offline: bool) -> None:
        [self.path] = hub.download(self.title, ["tinystories_gpt4_clean.parquet"], report, offline)

    def documents(self, splits: Collection[str]) -> Documents:
        assert self.path is not None, "fetch() comes first"
        for row, text in enumerate(read_downloaded(self.path)):
            if row >= 2 * STORIES and "train" not in splits:
                return
            split = "test" if row < STORIES else "val" if row < 2 * STORIES else "train"
            if split in splits:
                yield split, text


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass
class Files:
    """Text files below a folder, read in the order of their hashed names: the first part of them is a fair sample."""

    name: str
    argument: str
    title: str
    root: Path
    paths: list[Path]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> Mapping[str, Any]:
        states = [(self._key(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self.paths]
        digest = hashlib.sha256(json.dumps(sorted(states)).encode()).hexdigest()[:16]
        return {**self.about, "files": len(states), "state": digest}

    def fetch(self, report: Say, offline: bool) -> None:
        """Do nothing: the files are here."""

    def documents(self, splits: Collection[str]) -> Documents:
        for path in sorted(self.paths, key=lambda path: text_hash(self._key(path))):
            for text in READERS[path.suffix.lower()](path):
                split = split_of(text)
                if split in splits:
                    yield split, text

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def own_text(path: Path) -> Files:
    """Take a file, or the .txt, .md, .jsonl and .parquet files below a folder except hidden ones.

    Raises DataError where there are none.
    """
    root = path if path.is_dir() else path.parent
    candidates = path.rglob("*") if path.is_dir() else [path]
    paths = [
        file
        for file in candidates
        if file.suffix.lower() in OWN_SUFFIXES and file.is_file() and not _hidden(file.relative_to(root))
    ]
    if not paths:
        raise DataError(
            f"{path} holds no text: expected {', '.join(OWN_SUFFIXES)} (the latter two with a `text` field)"
        )
    title = f"{path} ({len(paths):,} file{'s' if len(paths) > 1 else ''})"
    return Files(folder_name(str(path)), str(path), title, root, paths)


def standard_library() -> Files:
    """Take the sources of the running Python's standard library, without its tests and its generated tables."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        file
        for file in root.rglob("*.py")
        if not _NOT_LIBRARY.intersection(file.relative_to(root).parts) and not file.name.startswith("_sysconfigdata")
    ]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    title = f"the standard library of {python} ({len(paths):,} files)"
    return Files("stdlib", "stdlib", title, root, paths, {"python": python})


_NOT_LIBRARY = {
    *("site-packages", "dist-packages", "__pycache__"),  # not the library's
    *("test", "tests", "idle_test", "lib2to3"),  # repetitive, and missing from many installations
    *("encodings", "pydoc_data"),  # tables and help texts written by programs
}


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def read_plain(path: Path) -> Iterator[str]:
    """Yield a file as documents of at most PIECE characters, cut at paragraphs: one file must fill three splits."""
    yield from filter(str.strip, pieces(path.read_text(encoding="utf-8-sig", errors="replace")))


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


def read_jsonl(path: Path) -> Iterator[str]:
    """Yield the field "text" of each line. Raises DataError where a line has none."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f'{path}, line {number}: expected an object with a "text" field ({error!r})') from error
            if not isinstance(text, str):
                raise DataError(f'{path}, line {number}: "text" is not a string but {type(text).__name__}')
            if text.strip():
                yield text.encode("utf-8", "replace").decode()  # JSON can escape half a surrogate pair


def read_downloaded(path: Path) -> Iterator[str]:
    """Do as read_parquet does, and tell how to download a damaged file again."""
    return read_parquet(path, f". Run: rm {shlex.quote(str(path.resolve()))} and prepare again")


def read_parquet(path: Path, advice: str = "") -> Iterator[str]:
    """Yield the column `text`, in order, without empty rows. Raises DataError where the file has no such column."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            kind = file.schema_arrow.field("text").type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise DataError(f"{path}: the column `text` holds {kind}, not strings")
            for batch in file.iter_batches(BATCH_ROWS, columns=["text"]):
                yield from (text for text in batch.column(0).to_pylist() if text and text.strip())
    except KeyError as error:
        raise DataError(f"{path} has no column `text`, only {', '.join(file.schema_arrow.names)}") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}{advice}") from error


READERS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    ".txt": read_plain,
    ".md": read_plain,
    ".py": read_plain,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
OWN_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
