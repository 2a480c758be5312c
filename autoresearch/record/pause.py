"""Ask a running loop to pause, by a file in runs/TAG that any terminal may create and the loop polls between runs."""

from __future__ import annotations

from pathlib import Path

from autoresearch.files import write_atomic
from autoresearch.paths import PAUSE

POLL_S = 1.0
RESUME = "uv run loop.py resume"  # the command that ends a pause


def asked(folder: Path) -> float | None:
    """Return since when a pause is asked for in runs/TAG, in POSIX seconds; None without one."""
    try:
        return (folder / PAUSE).stat().st_mtime
    except OSError:
        return None


def begin(folder: Path) -> None:
    """Ask the loop of runs/TAG to pause."""
    write_atomic(folder / PAUSE, b"")


def end(folder: Path) -> bool:
    """Let the loop of runs/TAG resume; return whether there was a pause."""
    paused = asked(folder) is not None
    (folder / PAUSE).unlink(missing_ok=True)
    return paused
