"""Make and draw a state of the live view, in the middle of a run."""

from __future__ import annotations

import io

from rich.console import Console

from autoresearch.decide import estimates
from autoresearch.records import MachineState
from autoresearch.report.dashboard import Clocks, draw
from autoresearch.report.live_state import LiveState, RunStart
from testbed import nights

STEP = {"event": "step", "step": 12, "progress": 0.5, "loss": 3.21, "tokens": 50_000}
CLOCKS = Clocks(wall=1_800_000_000.0, monotonic=1000.0)


def live_state() -> LiveState:
    """Return the state in the middle of a long night's run."""
    made = LiveState(tag="nov23", budget_s=10.0, machine="Apple M4 Pro", started=500.0, since=990.0)
    night = nights.night(60)
    made.take(night, estimates.read(night), 0)
    made.begin(RunStart(61, 0, "Halve the batch", "More steps."))
    made.since = 990.0
    made.machine_state = MachineState(
        monotonic=990.0,
        since_boot=990.0,
        wall=CLOCKS.wall,
        free_memory_mb=15000,
        swap_mb=512,
        power="ac",
        thermal="nominal",
    )
    made.hear({**STEP, "progress": 0.25, "loss": 5.0})
    made.hear(STEP)
    return made


def drawn(made: LiveState, width: int = 100, height: int = 1000) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(draw(made, width, height, CLOCKS))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]
