"""A pause: a file in runs/TAG that any terminal may put there, and that the running loop looks for between two runs."""

from __future__ import annotations

from pathlib import Path

from autoresearch.files import write_atomic

NAME = "pause"
POLL_S = 1.0
GO_ON = "uv run loop.py resume"


def asked(folder: Path) -> float | None:
    """Since when a pause is asked for in runs/TAG, by time.time(); None where it is not."""
    try:
        return (folder / NAME).stat().st_mtime
    except OSError:
        return None


def begin(folder: Path) -> None:
    write_atomic(folder / NAME, b"")


def end(folder: Path) -> bool:
    """Whether there was a pause to end."""
    there = asked(folder) is not None
    (folder / NAME).unlink(missing_ok=True)
    return there
