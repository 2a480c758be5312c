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
import os
import platform
import re
import sysconfig
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autoresearch import environment
from autoresearch.errors import DataError, UsageError
from autoresearch.formats import printable
from autoresearch.records import Say
from autoresearch.tasks.gpt.data import hub
from autoresearch.tasks.gpt.data.files import OWN_SUFFIXES, TEXT, Remarks, read, read_downloaded

NAMED = ("climbmix", "tinystories", "stdlib")  # that every machine prepares for itself; others are a person's own text
HELD_OUT = 1 / 25  # share of the documents that goes to val, and to test
LAST_SHARD = 6542  # climbmix's validation shard; the ones before it are for training
STORIES = 10_000  # rows of tinystories' test split, and of its validation split

Documents = Iterator[tuple[str, str]]  # (split, text)


class Corpus(Protocol):
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

    def remarks(self) -> list[str]:
        """Return what a person should know of the text that was read last, a line each."""
        ...


def find(dataset: str, shards: int, column: str = TEXT) -> Corpus:
    """Find the source that `--dataset` names; `column` is where a person's own tables hold the text.

    Raises UsageError where `dataset` is not a known name, file or folder.
    """
    if dataset == "climbmix":
        return ClimbMix(shards)
    if dataset == "tinystories":
        return TinyStories()
    if dataset == "stdlib":
        return standard_library()
    path = _existing(dataset)
    if path is None:
        what = "neither climbmix, tinystories, stdlib, nor an existing file or folder"
        raise UsageError(f"--dataset {printable(dataset[:200])}: {what}")
    return own_text(path.resolve(), column)


def _existing(dataset: str) -> Path | None:
    """Return the file or folder that `--dataset` names, or None. Raises UsageError for `~` and $VARIABLES of no one."""
    path = environment.path(dataset) if dataset.strip() and "\0" not in dataset else None
    try:
        return path if path is not None and path.exists() else None
    except OSError:  # a name that is too long, a folder that may not be looked into
        return None


def folder_name(dataset: str) -> str:
    """Name a data set's folder in the cache: climbmix -> climbmix; notes/ -> notes-1f0c39ae, by its absolute path.

    A name that is not a path, such as notes-1f0c39ae, stays as it is.
    """
    if dataset in NAMED or (path := _existing(dataset)) is None:
        return dataset
    path = path.resolve()
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", path.stem if path.is_file() else path.name).strip("-.") or "text"
    return f"{stem}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def text_hash(text: str) -> int:
    """Hash a text, or the name of a file in any encoding, into 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest())


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

    def remarks(self) -> list[str]:
        return []


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

    def remarks(self) -> list[str]:
        return []


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass
class TextFiles:
    """Text files below a folder, read in the order of their hashed names: the first part of them is a fair sample."""

    name: str
    argument: str
    title: str
    root: Path
    paths: list[Path]
    about: Mapping[str, Any] = field(default_factory=dict)
    column: str = TEXT  # of .jsonl and .parquet files: the field or column that holds the text
    odd: Remarks = field(default_factory=Remarks)

    @property
    def identity(self) -> Mapping[str, Any]:
        states = [(self._key(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self.paths]
        digest = hashlib.sha256(json.dumps(sorted(states)).encode()).hexdigest()[:16]
        column = {} if self.column == TEXT else {"column": self.column}
        return {**self.about, **column, "files": len(states), "state": digest}

    def fetch(self, report: Say, offline: bool) -> None:
        """Do nothing: the files are here."""

    def documents(self, splits: Collection[str]) -> Documents:
        for path in sorted(self.paths, key=lambda path: text_hash(self._key(path))):
            for text in read(path, self.odd, self.column):
                split = split_of(text)
                if split in splits:
                    yield split, text

    def remarks(self) -> list[str]:
        return self.odd.lines()

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def own_text(path: Path, column: str = TEXT) -> TextFiles:
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
            f"{printable(str(path))} holds no text: expected {', '.join(OWN_SUFFIXES)} (the latter two with a `text`"
            " field)"
        )
    title = f"{printable(str(path))} ({len(paths):,} file{'s' if len(paths) > 1 else ''})"
    return TextFiles(folder_name(str(path)), str(path), title, root, paths, column=column)


def standard_library() -> TextFiles:
    """Take the sources of the running Python's standard library, without its tests and its generated tables."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        file
        for file in root.rglob("*.py")
        if not _NOT_LIBRARY.intersection(file.relative_to(root).parts) and not file.name.startswith("_sysconfigdata")
    ]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    title = f"the standard library of {python} ({len(paths):,} files)"
    return TextFiles("stdlib", "stdlib", title, root, paths, {"python": python})


_NOT_LIBRARY = {
    *("site-packages", "dist-packages", "__pycache__"),  # not the library's
    *("test", "tests", "idle_test", "lib2to3"),  # repetitive, and missing from many installations
    *("encodings", "pydoc_data"),  # tables and help texts written by programs
}


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
