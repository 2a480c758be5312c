"""What does looking on cost? The live view's share of a core while a training reports four times a second.

    uv run benchmarks/view.py [--seconds 60]

The view draws into a real terminal (a pty that is read and thrown away) over the state of a night of 60 experiments,
and publishes it for `loop.py watch`. Shares are of the whole process's CPU time, less that of the same events without a
view.
"""

from __future__ import annotations

import io
import os
import pty
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common import arguments, report
from rich.console import Console

from autoresearch.decide import estimates
from autoresearch.report.console import LiveView, PlainView, Published, View
from autoresearch.report.dashboard import draw
from autoresearch.report.live_state import LiveState, RunStart
from testbed import nights

SIZES = ((80, 24), (118, 30), (200, 60))
EVENTS_A_S = 4
BUDGET_S = 300.0


def fill(state: LiveState) -> None:
    night = nights.night(60)
    state.take(night, estimates.read(night), 0)
    machine = "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    state.open("nov23", BUDGET_S, machine, ends_at=None, experiments=None, earlier_s=0.0)
    state.begin(RunStart(61, 0, "Halve the batch", "More steps fit the same five minutes."))


@contextmanager
def terminal(columns: int, lines: int) -> Iterator[Console]:
    """A console on a pty whose other end is read by another process: a terminal's own work is not the view's."""
    master, slave = pty.openpty()
    if os.fork() == 0:
        os.close(slave)
        while True:
            try:
                if not os.read(master, 65536):
                    os._exit(0)
            except OSError:
                os._exit(0)
    os.close(master)
    with os.fdopen(slave, "w") as stream:
        yield Console(file=stream, width=columns, height=lines, color_system="256", force_terminal=True)


def share(view: View | None, seconds: float) -> float:
    """CPU time of this process per second of a training's events."""
    used, began = time.process_time(), time.monotonic()
    for i in range(int(seconds * EVENTS_A_S)):
        event = {
            "event": "step",
            "step": i,
            "progress": i / EVENTS_A_S / BUDGET_S,
            "loss": 3.0 + 6 / (1 + i),
            "tokens": i,
        }
        if view is not None:
            view.hear(event)
        time.sleep(max(0.0, began + (i + 1) / EVENTS_A_S - time.monotonic()))
    return (time.process_time() - used) / (time.monotonic() - began)


def show(console: Console, state: LiveState, columns: int, lines: int) -> None:
    console.print(draw(state, columns, lines))


def each_ms(work: Callable[[], Any], times: int = 50) -> float:
    work()
    used = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - used) / times


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each row")
    args = parser.parse_args()
    seconds = 5.0 if args.quick else args.seconds
    idle = share(None, seconds)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as name:
        path = Path(name) / "live.json"
        for columns, lines in SIZES:
            with terminal(columns, lines) as console:
                view = Published(LiveView(console), path)
                fill(view.state)
                view.open()
                row = {"view": f"screen {columns} x {lines}", "% of a core": 100 * (share(view, seconds) - idle)}
                view.close()
                drawing = partial(show, console, view.state, columns, lines)
                rows.append(row | {"ms a drawing": each_ms(drawing)})
        lines_only = Published(PlainView(io.StringIO()), path)
        fill(lines_only.state)
        row = {"view": "log lines", "% of a core": 100 * (share(lines_only, seconds) - idle)}
        rows.append(row | {"ms a publication": each_ms(lines_only.publish), "bytes": path.stat().st_size})
    assert threading.active_count() == 1
    return report(rows, args)


if __name__ == "__main__":
    raise SystemExit(main())
