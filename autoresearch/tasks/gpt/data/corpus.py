"""Prepare a data set, once: text -> tokenizer -> packed rows of tokens in memory-mapped files, in three splits.

    CACHE/data/NAME/PROFILE/            a paths.DataFolder
        train.u16                       packed rows in a fixed random order: (rows, seq_len + 1) little-endian uint16
        eval/val.u16, eval/test.u16     the same; apart, so that a sandbox can hide them from training
        token_bytes.npy                 UTF-8 bytes of each token, (vocab_size,) int32; 0 for special tokens
        tokenizer.json                  the tokenizer, from which tokenizer.load makes a tiktoken encoding
        meta.json                       the task's numbers, and size and hash of every file above

The work happens in NAME/.PROFILE.partial, which gets its final name in one rename: a folder of that name is complete.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import fcntl
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError, DataError, UsageError
from autoresearch.paths import Cache, DataFolder
from autoresearch.records import Say
from autoresearch.system.exits import exit_code
from autoresearch.system.invocation import command, versions
from autoresearch.tasks.gpt.data import sources
from autoresearch.tasks.gpt.data.files import TEXT
from autoresearch.tasks.gpt.data.hub import hub_problem, hub_reachable
from autoresearch.tasks.gpt.data.prepared import VERSION, DataRequest, Meta, load_meta, verify
from autoresearch.tasks.gpt.data.profiles import PROFILES, Profile, default_profile

__all__ = [
    "changed_source",
    "command_line",
    "hub_problem",
    "hub_reachable",
    "locate",
    "prepare",
    "publish",
]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)


def locate(dataset: str, profile: str, cache: Path | None = None) -> Path | None:
    """Find a prepared folder by a known name, a path of text, or a name in the cache. Return None without one."""
    data = _data(sources.folder_name(dataset), profile, cache)
    return data.folder if data.meta.is_file() else None


def prepare(
    dataset: str = "climbmix",
    profile: str | None = None,
    shards: int | None = None,
    cache: Path | None = None,
    *,
    column: str | None = None,
    offline: bool = False,
    force: bool = False,
    report: Say = print,
) -> Path:
    """Prepare a data set and return its folder. One that is ready is prepared again only with `force`.

    `shards` are climbmix's training shards (default: the profile's), `column` is where a person's tables hold the text
    (default: that of the data as it was prepared, else `text`). A call continues an interrupted one, and waits
    for a concurrent one. Raises UsageError for unknown names, and DataError for text that is missing or too short.
    """
    scale = _profile(profile)
    folder = _data(sources.folder_name(dataset), scale.name, cache).folder
    source = sources.find(dataset, scale.shards if shards is None else shards, column or _column(folder))
    try:
        numbers = dataclasses.asdict(scale)
        request = jsonable.plain({"version": VERSION, "numbers": numbers, **source.identity})
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder, report):
            if force:
                shutil.rmtree(DataFolder(folder).partial.folder, ignore_errors=True)
            elif DataFolder(folder).partial.meta.exists():  # killed after the last stage
                publish(folder)
            if not force and _is_ready(folder, request, any_shards=shards is None, report=report):
                _discard_leftovers(folder)
                os.utime(DataFolder(folder).meta)  # the latest from now on
                return folder
            _prepare(source, scale, folder, request, offline, report)
    except OSError as error:
        raise _explained(error, folder) from error
    return folder


def _prepare(
    source: sources.Corpus, scale: Profile, folder: Path, request: DataRequest, offline: bool, report: Say
) -> None:
    from autoresearch.tasks.gpt.data.preparation import Preparation  # NumPy and rich, which a second call does without

    start = time.monotonic()
    report(f"preparing {source.title}, profile {scale.name}")
    Preparation(source, scale, DataFolder(folder).partial.folder, request, report).run(offline)
    publish(folder)
    fingerprint = load_meta(folder).fingerprint
    report(f"prepared in {time.monotonic() - start:.1f} s: {folder} (fingerprint {fingerprint})")


def _is_ready(folder: Path, request: DataRequest, any_shards: bool, report: Say) -> bool:
    if not folder.exists():
        return False
    try:
        meta = load_meta(folder)
    except DataError as error:
        report(f"{error}\nPreparing it again.")
        return False
    report(f"{folder} is ready (fingerprint {meta.fingerprint})")
    changed = _changes(meta.request, request)
    if any_shards and "shards" in changed:
        changed.remove("shards")
    if changed:
        what = ", ".join(CHANGES.get(key, key) for key in changed)
        report(f"since it was prepared, {what} changed. With --force it is prepared again, and results start over.")
    return True


def _column(folder: Path) -> str:
    """Return the column from which the data in a folder was prepared; `text` where none is told."""
    try:
        return str(load_meta(folder).request.get("column", TEXT))
    except DataError:
        return TEXT


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


def changed_source(meta: Meta) -> str | None:
    """Return a line on a person's text that has changed since it was prepared; None where it has not, or is gone."""
    if "state" not in meta.request:
        return None
    try:
        found = sources.find(meta.argument, 0, str(meta.request.get("column", TEXT)))
        identity = jsonable.plain(found.identity)
    except (AutoresearchError, OSError):
        return None
    if not _changes({key: meta.request.get(key) for key in identity}, identity):
        return None
    again = command(f"prepare.py --dataset {shlex.quote(meta.argument)} --profile {meta.profile} --force")
    return f"{meta.source} has changed since it was prepared; what was prepared is used. To prepare it again: {again}"


CHANGES = {  # what a changed key of the request is called
    "numbers": "the profile",
    "shards": "the number of shards",
    "python": "the running Python",
    "files": "the number of files",
    "state": "the files",
    "column": "the column that holds the text",
}


# --- the folder ------------------------------------------------------------------------------------------------------


def _data(name: str, profile: str, cache: Path | None) -> DataFolder:
    return (Cache(cache) if cache else Cache.default()).data(name, profile)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def publish(folder: Path) -> None:
    """Give the finished folder its name. A process that has an earlier folder's files open keeps reading those."""
    shutil.rmtree(_replaced(folder), ignore_errors=True)
    if folder.exists():
        folder.rename(_replaced(folder))
    partial = DataFolder(folder).partial
    partial.state.unlink(missing_ok=True)
    partial.folder.rename(folder)
    _discard_leftovers(folder)


def _discard_leftovers(folder: Path) -> None:
    """Remove what a killed `--force` left beside a folder that is complete."""
    shutil.rmtree(_replaced(folder), ignore_errors=True)
    shutil.rmtree(DataFolder(folder).partial.folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path, report: Say) -> Iterator[None]:
    """Let one process at a time prepare a folder; the lock ends with the process that holds it."""
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another process is preparing {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _explained(error: OSError, folder: Path) -> DataError:
    where = error.filename or folder
    if error.errno not in DISK_FULL:
        unwritable = error.errno in UNWRITABLE and Path(where).is_relative_to(DataFolder(folder).cache.folder)
        advice = ". Set AUTORESEARCH_CACHE to a folder that you can write to" if unwritable else ""
        return DataError(f"{where}: {error.strerror or error}{advice}")
    free = shutil.disk_usage(folder.parent).free / 1e9
    return DataError(
        f"{where}: {error.strerror}, with {free:.2f} GB free. Make room (the profile mac takes about 1 GB) or set"
        " AUTORESEARCH_CACHE to a folder on another disk; the same command continues"
    )


# --- the command line ------------------------------------------------------------------------------------------------


def _profile(name: str | None) -> Profile:
    name = name or default_profile()
    if name not in PROFILES:
        raise UsageError(f"--profile {name}: one of {', '.join(PROFILES)}")
    return PROFILES[name]


def command_line(argv: Sequence[str]) -> int:
    """Run `python prepare.py ARGV` and return the exit code."""
    parser = argparse.ArgumentParser(prog="prepare.py", description="Download, tokenize and pack the data, once.")
    parser.add_argument(
        "--dataset",
        default="climbmix",
        help="climbmix, tinystories, stdlib, or a file or folder of .txt, .md, .jsonl or .parquet (default: climbmix)",
    )
    parser.add_argument("--profile", choices=PROFILES, help="default: mac on Apple Silicon, tiny elsewhere")
    parser.add_argument("--shards", type=int, help="training shards of climbmix (default: mac 2, tiny 1)")
    parser.add_argument(
        "--text-column", metavar="NAME", help="field or column of .jsonl and .parquet that holds the text (text)"
    )
    parser.add_argument("--force", action="store_true", help="prepare again, from the start")
    parser.add_argument("--verify", action="store_true", help="check every byte of what is prepared, and no more")
    parser.add_argument("--version", action="version", version=versions(), help="print the versions and exit")
    return exit_code(lambda: _run_command(parser.parse_args(argv)), stopped="stopped; run the same command to resume")


def _run_command(args: argparse.Namespace) -> int:
    if args.verify:
        _verify_prepared(args.dataset, _profile(args.profile).name)
    else:
        prepare(args.dataset, args.profile, args.shards, column=args.text_column, force=args.force)
    return 0


def _verify_prepared(dataset: str, profile: str) -> None:
    folder = locate(dataset, profile)
    if folder is None:
        how = command(f"prepare.py --dataset {shlex.quote(dataset)} --profile {profile}")
        raise DataError(f"{dataset} is not prepared for the profile {profile}. Run: {how}")
    print(f"{folder} is whole (fingerprint {verify(folder).fingerprint})")
