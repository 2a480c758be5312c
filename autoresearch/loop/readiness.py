"""Wait until a run may begin: nobody wants a pause, the language model leaves room, memory and disk suffice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from autoresearch.errors import AutoresearchError, ProposerError
from autoresearch.formats import span
from autoresearch.loop.notebook import Notebook
from autoresearch.measure.workbench import FREE_DISK
from autoresearch.record import pause
from autoresearch.system import gpu, machine
from autoresearch.system.invocation import command

RELEASE_WAITS_S = (10.0, 30.0, 60.0, 120.0)  # between attempts to unload the language model
ROOM_WAITS_S = (10.0, 30.0, 60.0, 120.0)  # between looks at the free memory and disk


Release = Callable[[float | None], bool]  # as records.Proposer.release


@dataclass
class Readiness:
    """Conditions of a run on this machine. `release` unloads the language model where training needs its memory."""

    notebook: Notebook
    release: Release
    alone: bool = False  # the model is always unloaded, since a training has run out of memory beside it
    shared: bool = False  # the model stays loaded beside the present run

    def wait(self, peak_mb: float) -> None:
        """Return when a run may begin that needs `peak_mb` of memory, or when waiting longer would not help.

        Raises AutoresearchError where the disk stays full or the model stays loaded.
        """
        self.pause()
        self.shared = self._make_room(None if self.alone else peak_mb)
        view = self.notebook.view
        for wait_s in ROOM_WAITS_S:
            short = self._short_of(peak_mb)
            if short is None:
                return
            view.status(f"{short}; waiting {wait_s:.0f} s")
            time.sleep(wait_s)
        if self._free_disk() < FREE_DISK:
            raise AutoresearchError(
                f"{short}. Make room: {command('loop.py clean')}; then run the same command to resume"
            )
        view.say(f"{short}; continuing anyway")

    def pause(self, until: Callable[[], bool] = lambda: False) -> None:
        """Release the memory and wait while a person asks for a pause and `until` is false."""
        layout, view, journal = self.notebook.layout, self.notebook.view, self.notebook.journal
        since = pause.asked(layout)
        if since is None:
            return
        self._make_room(None)
        journal.append("paused")
        view.state.pause(since)
        view.status(f"paused; to resume: {pause.how_to_resume()}")
        while pause.asked(layout) is not None and not until():
            time.sleep(pause.POLL_S)
        view.state.resume()
        journal.append("resumed")
        view.say(f"resumed after a pause of {span(time.time() - since)}")

    def _make_room(self, peak_mb: float | None) -> bool:
        """Unload the language model unless a training of `peak_mb` fits beside it; return whether it stays."""
        for wait_s in RELEASE_WAITS_S:
            try:
                return self.release(peak_mb)
            except ProposerError as error:
                self.notebook.view.status(f"{error}; waiting {wait_s:.0f} s")
                problem = error
            time.sleep(wait_s)
        raise AutoresearchError(f"cannot train while a model is loaded: {problem}") from problem

    def _short_of(self, peak_mb: float) -> str | None:
        """Return what a run lacks, memory or disk, with the numbers."""
        free = self._free_disk()
        if free < FREE_DISK:
            return f"{free / 2**20:.0f} MB of disk are left, and a run needs {FREE_DISK / 2**20:.0f}"
        free_mb = machine.free_memory_mb()
        if gpu.find() is None and free_mb < peak_mb:
            return f"{free_mb / 1024:.1f} GB of memory are free, and a run takes {peak_mb / 1024:.1f}"
        return None

    def _free_disk(self) -> int:
        return shutil.disk_usage(self.notebook.layout.folder).free
