"""Ask a running loop to pause, by a file in runs/TAG that any terminal may create and the loop polls between runs."""

from __future__ import annotations

from autoresearch.paths import Layout
from autoresearch.system.invocation import command

POLL_S = 1.0


def how_to_resume() -> str:
    """Return the command that ends a pause."""
    return command("loop.py resume")


def asked(layout: Layout) -> float | None:
    """Return since when a pause is asked for in runs/TAG, in POSIX seconds; None without one."""
    try:
        return layout.pause.stat().st_mtime
    except OSError:
        return None


def begin(layout: Layout) -> None:
    """Ask the loop of runs/TAG to pause; several may ask at one moment."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.pause.touch()


def end(layout: Layout) -> bool:
    """Let the loop of runs/TAG resume; return whether there was a pause."""
    paused = asked(layout) is not None
    layout.pause.unlink(missing_ok=True)
    return paused
