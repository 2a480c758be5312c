"""Say in a sentence what the disk refuses: it is full, or a file or folder may not be written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from autoresearch.system.invocation import command

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def refusal(error: OSError) -> str | None:
    """Return what was refused, why, and what to do; None for an error of another kind.

    refusal(OSError(28, "No space left on device", "runs/a")) ->
        "runs/a: No space left on device (12 MB are free). Nothing that was recorded is lost. Make room, ..."
    """
    code = _code(error)
    path = f"{error.filename}: " if error.filename else ""
    if code in FULL:
        room = f"Make room, e.g. by {command('loop.py clean')}, and run the same command again"
        return f"{path}{os.strerror(code)}{_free(error)}. Nothing that was recorded is lost. {room}"
    if code in FORBIDDEN:
        own = "Make it your own, or work in a copy of the folder that is; AUTORESEARCH_CACHE names another cache"
        return f"{path}{os.strerror(code)}. {own}"
    return None


def _code(error: OSError) -> int:
    """Return the error's number; shutil.Error, of many files at once, only quotes the text of it."""
    if error.errno is not None or not isinstance(error, shutil.Error):
        return error.errno or 0
    return next((code for code in (*FULL, *FORBIDDEN) if os.strerror(code) in str(error)), 0)


def _free(error: OSError) -> str:
    """Return the room where the file is, or where it was to be: " (12 MB are free)"."""
    if not error.filename or isinstance(error.filename, int):
        return ""
    path = Path(os.fsdecode(error.filename)).absolute()
    there = next((p for p in (path, *path.parents) if p.exists()), None)
    return f" ({shutil.disk_usage(there).free // 2**20:,} MB are free)" if there else ""
