"""Files that survive a power cut: replaced whole or not at all, and synced to the disk itself."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS, where fsync stops at the drive's own cache


def sync(fd: int) -> None:
    """Return when what was written to `fd` is on the disk. Raises OSError."""
    if F_FULLFSYNC is not None:
        try:
            fcntl.fcntl(fd, F_FULLFSYNC)
            return
        except OSError as error:  # network and some external volumes have no such call
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` (new, renamed, removed) last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """`path` holds `data` or what it held before, whatever happens meanwhile; its mode stays. Raises OSError.

    What need not survive a power cut is not `lasting`, and costs no wait for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    temporary = path.with_name(f".{path.name}.tmp")  # one name, so that what a kill leaves is used again
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if lasting:
                sync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)
