"""Try a changed file on small arrays in a confined child, within the turn of the model that changed it.

It takes seconds, while the model's prompt is still in its server's cache. Nothing is measured, so the machine need not
be idle. A failure that the machine causes, such as a lack of time or memory, counts as no result.
"""

from __future__ import annotations

import contextlib
import signal
from dataclasses import replace
from pathlib import Path

from autoresearch.failures import KINDS
from autoresearch.files import write_atomic
from autoresearch.measure import run_folder
from autoresearch.measure.follower import Follower
from autoresearch.measure.launch import start
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.paths import EDITABLE
from autoresearch.records import Failure

MEMORY = 4 * 2**30  # bytes that it may hold: a language model may be loaded beside it
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # exit codes, the second bwrap's: the system needed the memory
SIZES: tuple[tuple[str, ...], ...] = ((), ("--own-size",))  # options of the child, in the order of the attempts


def preflight(bench: Workbench, source: str, folder: Path) -> Failure | None:
    """Return why a source cannot work, or None where it may.

    A source fails where it fails on small arrays and again at the task's own size; that second failure is returned.
    Nothing stays in `folder`.
    """
    bench = replace(bench, memory_limit=min(bench.memory_limit, MEMORY))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / EDITABLE, source.encode())
    try:
        spec, failure = RunSpec.of(bench, folder / EDITABLE, folder / "run", seed=0), None
        for options in SIZES:
            failure = _attempt(spec, options)
            if failure is None:
                return None
        return failure
    finally:
        run_folder.tidy(folder, ())
        with contextlib.suppress(OSError):  # what could not be removed is, before the next one
            folder.rmdir()


def _attempt(spec: RunSpec, options: tuple[str, ...]) -> Failure | None:
    """Run the child once and return a failure that can only be the candidate's: its code ran, and was not killed."""
    run_folder.make(spec.folder, spec.bench.kernels)
    child, token = start(spec, "preflight", options=options)
    outcome = Follower(child, token, spec, {"start": spec.bench.preflight_limit_s}, name="preflight").follow()
    failure, killed = outcome.failure, child.returncode in KILLED
    if failure is None or outcome.at("importing") is None or (failure.kind == "exited" and killed):
        return None
    return failure if KINDS[failure.kind].fault == "candidate" else None
