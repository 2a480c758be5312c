"""Bring a person's prepared text from a fleet's coordinator to a member, which keeps it for the nights to come.

The coordinator describes the files of its folder (Parcel); the member checks the description against the fingerprint of
the night, takes the files in pieces (Delivery) and keeps them in CACHE/data/NAME@fleet/PROFILE. Of the description only
numbers, sizes and hashes count: the files have fixed names, and no path of the coordinator is in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.files import sync, sync_folder, write_atomic
from autoresearch.formats import printable
from autoresearch.paths import Cache, DataFolder
from autoresearch.records import Say
from autoresearch.tasks.gpt.data import corpus, prepared, sources
from autoresearch.tasks.gpt.data.prepared import FROM_FLEET, Meta
from autoresearch.tasks.gpt.data.profiles import PROFILES

SPLITS = {"train": "train.u16", "val": "eval/val.u16", "test": "eval/test.u16"}  # paths.DataFolder
FILES = frozenset({*SPLITS.values(), "token_bytes.npy", "tokenizer.json"})
TOKEN_BYTES = 2  # of a token in the packed rows
ELSEWHERE = "Set AUTORESEARCH_CACHE to a folder that you can write to, and join again"
MAKE_ROOM = "Make room and join again, or set AUTORESEARCH_CACHE to a folder on another disk"
SHOWN = 10  # lines about what has arrived, at most
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,239}")  # of a data set; sources.folder_name makes no other
_SHA256 = re.compile(r"[0-9a-f]{64}")


# --- the coordinator's side ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parcel:
    """The files that a coordinator sends to members; it sends no others."""

    title: str  # "notes-1f0c39ae", for people
    manifest: str  # the description that a member checks them by: a Meta in JSON
    folder: Path
    files: Mapping[str, int]  # bytes of each, by its name in the folder

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def parcel(folder: Path) -> Parcel | None:
    """Return what members get of a prepared folder; None where each prepares it by its name. Raises DataError."""
    meta = prepared.load_meta(folder)
    name = meta.dataset.removesuffix(FROM_FLEET)
    if name in sources.NAMED:
        return None
    bare = replace(meta, dataset=name, argument="", source="", request={}, train_mtime_ns=None)
    if problem(bare) is not None:
        return None
    files = {file: entry.bytes for file, entry in bare.all_files().items()}
    return Parcel(name, jsonable.to_json(bare).decode(), folder, files)


def problem(meta: Meta) -> str | None:
    """Return why a description is not that of a whole prepared folder; None where it is. No I/O."""
    files = meta.all_files()
    named = {split: entry.file for split, entry in meta.splits.items()}
    if meta.version != prepared.VERSION:
        return f"its layout is {meta.version}, and this version reads {prepared.VERSION}"
    if not _NAME.fullmatch(meta.dataset) or meta.profile not in PROFILES:
        return f"{printable(f'{meta.dataset}/{meta.profile}'[:200])} is not the name of a data set and a profile"
    if files.keys() != FILES or named != SPLITS:
        return f"its files are {printable(', '.join(sorted(files))[:200]) or 'none'}, not {', '.join(sorted(FILES))}"
    for name, entry in files.items():
        if entry.bytes < 0 or not _SHA256.fullmatch(entry.sha256):
            return f"{name} has no size and hash"
    for split in meta.splits.values():
        if split.bytes != split.rows * (meta.seq_len + 1) * TOKEN_BYTES:
            return f"{split.file} has {split.bytes:,} bytes, which are not {split.rows:,} rows"
    hashes = {name: entry.sha256 for name, entry in files.items()}
    if prepared.fingerprint(dataclasses.asdict(meta), hashes) != meta.fingerprint:
        return "its numbers and hashes are not those of its fingerprint"
    return None


# --- the member's side -----------------------------------------------------------------------------------------------


def find(fingerprint: str | None, profile: str | None, cache: Path | None = None) -> str | None:
    """Return the name in the cache of whole data with a fingerprint, wherever it is from; None without any."""
    for data in prepared.folders(cache):
        try:
            if data.profile == profile and prepared.load_meta(data.folder).fingerprint == fingerprint:
                prepared.verify(data.folder, quick=True)
                return data.dataset
        except (DataError, OSError):  # damaged: it is sent again
            continue
    return None


def discard_leftovers(cache: Path | None = None) -> None:
    """Remove what deliveries left that were cut off; no other process may receive one."""
    root = (Cache(cache) if cache else Cache.default()).folder / "data"
    for partial in root.glob(f"*{FROM_FLEET}/.*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


@dataclass
class Delivery:
    """Data that arrives in pieces. It has a name of its own until all of it is there and was found to be right."""

    meta: Meta
    data: DataFolder  # where it will be
    say: Say
    _arrived: dict[str, int] = field(default_factory=dict)  # bytes of each file, from its beginning
    _shown: int = 0  # tenths of all bytes that the latest line told of
    _line: str = ""

    @classmethod
    def begin(cls, manifest: str, fingerprint: str | None, say: Say, cache: Path | None = None) -> Delivery:
        """Check a description and the room on the disk, and begin. Raises DataError."""
        try:
            meta = jsonable.from_json(Meta, manifest)
        except jsonable.MalformedError as error:
            raise DataError(f"the coordinator's description of its data cannot be read: {error}") from None
        if meta.fingerprint != fingerprint:
            raise DataError(f"the coordinator offers data {printable(meta.fingerprint[:40])}, not {fingerprint}")
        if (why := problem(meta)) is not None:
            raise DataError(f"the coordinator's description of its data is wrong: {why}")
        name, profile = meta.dataset + FROM_FLEET, PROFILES[meta.profile]
        kept = replace(
            meta,
            dataset=name,
            argument="",
            source=f"{meta.dataset}, sent by a fleet's coordinator",
            budget_s=profile.budget_s,  # as the constants: no hash vouches for those that were sent
            constants=dict(profile.constants),
            request={},
        )
        made = cls(kept, (Cache(cache) if cache else Cache.default()).data(name, meta.profile), say)
        made._make_room()
        return made

    @property
    def name(self) -> str:
        """The name of the data on the coordinator."""
        return self.meta.dataset.removesuffix(FROM_FLEET)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.meta.all_files().values())

    def _make_room(self) -> None:
        folder = self.data.partial.folder
        try:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "eval").mkdir(parents=True)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise self._explained(error) from error
        if free < self.size:
            self.abandon()
            needed = f"the coordinator's data takes {megabytes(self.size)}, and {megabytes(free)} are free"
            raise DataError(f"{folder.parent}: {needed}. {MAKE_ROOM}")
        self.say(f"data: receiving {self.name} from the coordinator, {megabytes(self.size)}")

    def take(self, name: str, offset: int, piece: bytes) -> None:
        """Write a piece of a file; one that comes twice is written twice. Raises DataError."""
        entry, begun = self.meta.all_files().get(name), self._arrived.get(name, 0)
        if entry is None:
            raise DataError(f"the coordinator sent {printable(name[:200])}, which is no file of its data")
        if not 0 <= offset <= begun or offset + len(piece) > entry.bytes:
            raise DataError(f"the coordinator sent bytes {offset:,} to {offset + len(piece):,} of {name} out of turn")
        try:
            fd = os.open(self.data.partial.folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(fd, "wb") as file:  # opened by its number it is not emptied
                file.seek(offset)
                file.write(piece)
        except OSError as error:
            raise self._explained(error) from error
        self._arrived[name] = max(begun, offset + len(piece))
        self._show()

    def _show(self) -> None:
        arrived = sum(self._arrived.values())
        line = f"data: {arrived / 1e6:,.1f} of {megabytes(self.size)} received"
        if (tenths := SHOWN * arrived // max(1, self.size)) > self._shown and line != self._line:
            self._shown, self._line = tenths, line
            self.say(line)

    def abandon(self) -> None:
        """Remove what has arrived, unless it is kept already."""
        shutil.rmtree(self.data.partial.folder, ignore_errors=True)

    def finish(self) -> Path:
        """Compare all files with their hashes and give them their name. Return their folder. Raises DataError.

        What is not right is removed.
        """
        try:
            self._check()
            self._keep()
        except OSError as error:
            raise self._explained(error) from error
        except DataError:
            self.abandon()
            raise
        self.say(f"data: kept in {self.data.folder} for the nights to come")
        return self.data.folder

    def _check(self) -> None:
        for name, entry in self.meta.all_files().items():
            path = self.data.partial.folder / name
            path.touch()  # an empty file comes in no piece
            with path.open("rb+") as file:
                sync(file.fileno())
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry.sha256:
                size = path.stat().st_size
                raise DataError(
                    f"{name} of {self.name} did not arrive as it was prepared: "
                    f"{size:,} of {entry.bytes:,} bytes, SHA-256 {found[:12]}, not {entry.sha256[:12]}. "
                    "Was it prepared again on the coordinator? Joining again sends it anew"
                )

    def _keep(self) -> None:
        partial = self.data.partial
        meta = replace(self.meta, train_mtime_ns=partial.train.stat().st_mtime_ns)
        write_atomic(partial.meta, jsonable.to_json(meta))
        os.utime(partial.meta, (0, 0))  # a night here that names no data takes what a person prepared
        sync_folder(partial.folder / "eval")
        corpus.publish(self.data.folder)
        sync_folder(self.data.folder.parent)

    def _explained(self, error: OSError) -> DataError:
        """Return the sentence for an error of the disk, and remove what has arrived."""
        folder = self.data.partial.folder
        self.abandon()
        if error.errno in corpus.DISK_FULL:
            arrived = sum(self._arrived.values()) / 1e6
            return DataError(
                f"{folder.parent}: {error.strerror}, after {arrived:,.1f} of {megabytes(self.size)}. {MAKE_ROOM}"
            )
        return DataError(f"{error.filename or folder}: {error.strerror or error}. {ELSEWHERE}")


def megabytes(count: int) -> str:
    """Return a size for people: megabytes(34_120_000) -> "34.1 MB"."""
    return f"{count / 1e6:,.1f} MB"
