"""Read and check prepared data folders. meta.json says what a folder holds: the task's numbers, files, their hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.paths import Cache, DataFolder
from autoresearch.system.invocation import command

VERSION = 2  # of the layout that corpus.py describes
NUMBERS = ("seq_len", "vocab_size", "bos_id", "eval_tokens", "eval_rows")  # of meta.json that decide what is measured

FROM_FLEET = "@fleet"  # ends the name of data that a coordinator has sent, which no path of a text becomes

DataRequest = Mapping[str, Any]  # what was asked for: the profile's numbers, and what identifies the text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Versioned:
    """The version of a folder's layout, which is read before anything else."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of the folder as it was written."""

    bytes: int
    sha256: str = ""  # empty where nothing vouches for the content, as in a test


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(StoredFile):
    """The packed rows of one split."""

    file: str  # "eval/val.u16"
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta(_Versioned):
    """The task's numbers, the files, and where the text came from."""

    dataset: str
    profile: str
    fingerprint: str
    seq_len: int
    vocab_size: int
    bos_id: int
    eval_tokens: int
    eval_rows: int
    budget_s: float
    splits: Mapping[str, Split]
    argument: str = ""  # what `--dataset` takes; empty for the name
    source: str = ""  # for a person
    constants: Mapping[str, str] = field(default_factory=dict)  # that a night on this data begins with
    files: Mapping[str, StoredFile] = field(default_factory=dict)  # beside the splits
    train_mtime_ns: int | None = None  # of the training rows when they were written
    documents: Mapping[str, float] = field(default_factory=dict)
    request: DataRequest = field(default_factory=dict)
    created: str = ""

    def all_files(self) -> dict[str, StoredFile]:
        """Return every file of the folder by its name in it."""
        return {**self.files, **{split.file: split for split in self.splits.values()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The stages of a preparation that are finished, each with its files and counts."""

    request: DataRequest
    stages: Mapping[str, Mapping[str, Any]]


def folders(cache: Path | None = None) -> list[DataFolder]:
    """Return all that is prepared, for any profile, the latest first; a `prepare` of ready data counts anew."""
    root = (Cache(cache) if cache else Cache.default()).folder / "data"
    metas = [path for path in root.glob("*/[!.]*/meta.json") if not path.parts[-3].startswith(".")]
    return [DataFolder(path.parent) for path in sorted(metas, key=_changed, reverse=True)]


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


@dataclass(frozen=True)
class _Argument:
    argument: str = ""


def argument(data: DataFolder) -> str:
    """Return what `--dataset` takes for a prepared folder: a known name, or the path of a person's text."""
    try:
        return jsonable.from_json(_Argument, data.meta.read_bytes()).argument or data.dataset
    except (OSError, ValueError):  # damaged: what uses it will say so
        return data.dataset


def load_meta(folder: Path) -> Meta:
    """Read meta.json of a prepared folder, and compare the size of every file with it.

    Raises DataError, with the command that mends it, where a file is missing or has another size than when written.
    """
    data = DataFolder(folder)
    try:
        content = data.meta.read_bytes()
        version = jsonable.from_json(_Versioned, content).version
        meta = jsonable.from_json(Meta, content) if version == VERSION else None
    except (OSError, ValueError) as error:
        raise DataError(f"{data.meta} is missing or corrupt ({error}). {_mend_folder(data)}") from error
    if meta is None:
        raise DataError(f"{folder} has layout {version}, and this version reads {VERSION}. {_mend_folder(data)}")
    for name, entry in meta.all_files().items():
        path, expected = folder / name, entry.bytes
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            found = "is missing" if size is None else f"is corrupt: {size:,} bytes, not {expected:,}"
            raise DataError(f"{path} {found}. {_mend(meta)}")
    return meta


def verify(folder: Path, *, quick: bool = False) -> Meta:
    """Do as load_meta does, and compare every byte with its SHA-256, and meta.json with its fingerprint.

    With `quick` the training rows, the one large file, are read only where they were written since they were prepared.
    Raises DataError.
    """
    meta, data = load_meta(folder), DataFolder(folder)
    hashes = {name: entry.sha256 for name, entry in meta.all_files().items()}
    for name, expected in hashes.items():
        path = folder / name
        if not expected or (quick and path == data.train and path.stat().st_mtime_ns == meta.train_mtime_ns):
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise DataError(f"{path} is corrupt: SHA-256 {found[:12]}, not {expected[:12]}. {_mend(meta)}")
    if all(hashes.values()) and fingerprint(dataclasses.asdict(meta), hashes) != meta.fingerprint:
        raise DataError(f"{data.meta} was changed: its numbers are not those of its fingerprint. {_mend(meta)}")
    return meta


def fingerprint(numbers: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """Hash the NUMBERS of a task and the hashes of its files, by their names, into 16 hex digits."""
    content = {**{name: numbers.get(name) for name in NUMBERS}, **hashes}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _mend(meta: Meta) -> str:
    shards = meta.request.get("shards")
    return _again(meta.argument or meta.dataset, meta.profile, "" if shards is None else f" --shards {shards}")


def _mend_folder(data: DataFolder) -> str:
    """Return what prepares a folder again whose meta.json cannot be read."""
    return _again(argument(data), data.profile, "")


def _again(dataset: str, profile: str, options: str) -> str:
    if dataset.endswith(FROM_FLEET) and "/" not in dataset:
        return "It is sent again when this machine joins the fleet: " + command("loop.py join 'autoresearch://...'")
    return "Run: " + command(f"prepare.py --dataset {shlex.quote(dataset)} --profile {profile}{options} --force")
