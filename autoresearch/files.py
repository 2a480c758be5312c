"""Replace files atomically, and sync them to the disk so that they survive a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # on macOS, where fsync leaves data in the drive's cache


def is_clutter(name: str) -> bool:
    """Return whether a file of this name is one that macOS leaves in a person's folders.

    >>> [name for name in (".DS_Store", "._notes.txt", ".env", "notes.txt") if is_clutter(name)]
    ['.DS_Store', '._notes.txt']
    """
    return name == ".DS_Store" or name.startswith("._")


def sync(fd: int) -> None:
    """Wait until what was written to `fd` is on the disk. Raises OSError."""
    if F_FULLFSYNC is not None:
        try:
            fcntl.fcntl(fd, F_FULLFSYNC)
            return
        except OSError as error:  # network volumes and some external ones do not support it
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Wait until new, renamed and removed names in `folder` are on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, lasting: bool = True, mode: int | None = None) -> None:
    """Replace the content of `path` by `data`. At every moment the file holds either the old or the new content.

    The mode of an existing file stays; with `mode`, such as 0o600 for a secret, the file has that one from its first
    byte on. With `lasting=False` it does not wait for the disk, for content that need not
    survive a power cut. Raises OSError, with the path in it.
    """
    try:
        _write_atomic(path, data, lasting, mode)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write or a sync
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _write_atomic(path: Path, data: bytes, lasting: bool, mode: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    temporary = path.with_name(f".{path.name}.tmp")  # always the same name, so that kills do not leave many files
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    if mode is not None:  # a file that a kill left may have another mode
        temporary.unlink(missing_ok=True)
        flags |= os.O_EXCL
    try:
        with os.fdopen(os.open(temporary, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), kept if mode is None else mode)
            if lasting:
                sync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)
