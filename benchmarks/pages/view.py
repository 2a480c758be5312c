"""Measure what watching and reading a night cost: the live view while a training reports, and the morning report.

The view draws into a real terminal (a pty that is read and thrown away) on the state of a night of 60 experiments, and
publishes it for `loop.py watch`. Its share of a core is the CPU time of the whole process, less that of the same events
without a view. The report is rendered for nights of up to a thousand experiments whose sources are the real trainer's,
so that diffs have their usual length to search.
"""

from __future__ import annotations

import io
import os
import pty
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from autoresearch.decide import estimates
from autoresearch.report import page, page_night, progress_chart
from autoresearch.report.console import LiveView, PlainView, Published, View
from autoresearch.report.dashboard import draw
from autoresearch.report.live_state import LiveState, RunStart
from benchmarks.timing import arguments, report
from testbed import nights
from testbed.toy import ROOT

# --- the live view ----------------------------------------------------------------------------------------------------

SIZES = ((80, 24), (118, 30), (200, 60))
EVENTS_A_S = 4
BUDGET_S = 300.0


def view_rows(sizes: Sequence[tuple[int, int]], seconds: float) -> list[dict[str, Any]]:
    """Measure each size of the terminal for so many seconds, then the view that prints lines."""
    idle = core_share(None, seconds)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as name:
        path = Path(name) / "live.json"
        for columns, lines in sizes:
            with terminal(columns, lines) as console:
                view = Published(LiveView(console), path)
                fill(view.state)
                view.open()
                row = {"view": f"screen {columns} x {lines}", "% of a core": 100 * (core_share(view, seconds) - idle)}
                view.close()
                drawing = partial(show, console, view.state, columns, lines)
                rows.append(row | {"ms a drawing": each_ms(drawing)})
        lines_only = Published(PlainView(io.StringIO()), path)
        fill(lines_only.state)
        row = {"view": "log lines", "% of a core": 100 * (core_share(lines_only, seconds) - idle)}
        rows.append(row | {"ms a publication": each_ms(lines_only.publish), "bytes": path.stat().st_size})
    assert threading.active_count() == 1, "a view left a thread behind"
    return rows


def fill(state: LiveState) -> None:
    """Show a night of 60 experiments, with the next one running."""
    night = nights.night(60)
    state.take(night, estimates.read(night), 0)
    machine = "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    state.open("nov23", BUDGET_S, machine, ends_at=None, experiments=None, earlier_s=0.0)
    state.begin(RunStart(61, 0, "Halve the batch", "More steps fit the same five minutes."))


@contextmanager
def terminal(columns: int, lines: int) -> Iterator[Console]:
    """Open a console on a pty whose other end is read by another process: a terminal's own work is not the view's."""
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


def core_share(view: View | None, seconds: float) -> float:
    """Return the CPU time of this process per second of a training's events."""
    used, began = time.process_time(), time.monotonic()
    for i in range(int(seconds * EVENTS_A_S)):
        progress, loss = i / EVENTS_A_S / BUDGET_S, 3.0 + 6 / (1 + i)
        if view is not None:
            view.hear({"event": "step", "step": i, "progress": progress, "loss": loss, "tokens": i})
        time.sleep(max(0.0, began + (i + 1) / EVENTS_A_S - time.monotonic()))
    return (time.process_time() - used) / (time.monotonic() - began)


def show(console: Console, state: LiveState, columns: int, lines: int) -> None:
    console.print(draw(state, columns, lines))


def each_ms(work: Callable[[], Any], times: int = 50) -> float:
    """Return the milliseconds of CPU time that one call takes, as a mean."""
    work()
    used = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - used) / times


# --- the morning report -----------------------------------------------------------------------------------------------

TRAINER = (ROOT / "train_mlx.py").read_text()


def report_row(experiments: int) -> dict[str, Any]:
    """Render a night of so many experiments."""
    night = nights.night(experiments)
    began, used = time.perf_counter(), time.process_time()
    html = page.render(night, source_of)
    rendered, cpu = time.perf_counter() - began, time.process_time() - used
    began = time.perf_counter()
    png = progress_chart.progress_png(page_night.progress_picture(night))
    return {
        "experiments": experiments,
        "report.html kB": len(html.encode()) / 1024,
        "render s": rendered,
        "cpu s": cpu,
        "progress.png kB": len(png) / 1024,
        "png s": time.perf_counter() - began,
    }


def source_of(n: int) -> str:
    """Return the trainer with a line of its own for every experiment."""
    return TRAINER.replace("\n\n\n", f"\n\nEXTRA = {n}\n\n\n", 1)


def main(argv: Sequence[str]) -> int:
    options = arguments("pages view", __doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="of each row of the live view (60)")
    options.add_argument("--only", choices=["view", "report"])
    args = options.parse_args(argv)
    rows: list[dict[str, Any]] = []
    if args.only != "report":
        rows += view_rows(SIZES[1:2], 2.0) if args.quick else view_rows(SIZES, args.seconds)
    if args.only != "view":
        rows += [report_row(n) for n in ((12,) if args.quick else (12, 100, 300, 1000))]
    return report(rows, args)
