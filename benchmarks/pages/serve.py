"""Measure what `loop.py serve` holds, and what it costs a training beside it.

The first table calls each address over HTTP from four threads: requests a second as they were, and the server's own
CPU time a request, which other work on the machine changes little. In the second a training runs while the loop's
files change as in a night (the live state twice a second, the journal once a minute). Pairs of windows, one with
callers and one without, alternate in their order; the ratio of their speeds is the geometric mean over the pairs, with
its 95% interval by Student's t.
"""

from __future__ import annotations

import http.client
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlx.core as mx
import psutil

from autoresearch.decide.interval import t_quantile
from autoresearch.paths import Layout, serve_token
from autoresearch.record.journal import Journal
from autoresearch.report.live_state import LiveState
from benchmarks.timing import TINY_CONSTANTS, arguments, report, toy_task, trainer, training_step, warmed
from testbed import nights
from testbed.served import SERVE, TAG, write_live
from testbed.toy import ROOT

PATHS = ("/best", "/experiments?limit=50", "/next", "/near-misses", "/hypotheses", "/results.tsv", "/night.html")
THREADS = 4
JOURNAL_S = 57.0  # between two events of the night, which has six in 340 s


class NightServer:
    """`loop.py serve` on a made-up night, in a process of its own."""

    def __init__(self, root: Path, experiments: int) -> None:
        self.layout = Layout(root, TAG)
        nights.long_night(experiments, validate=False).write(self.layout.folder)
        argv = [sys.executable, "-c", SERVE, str(root), "serve", "--port", "0"]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().partition("127.0.0.1:")[2].partition("/")[0])
        self.headers = {"Authorization": f"Bearer {serve_token(root).read_text().strip()}"}
        self._usage = psutil.Process(self.process.pid)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body

    def cpu_s(self) -> float:
        used = self._usage.cpu_times()
        return float(used.user + used.system)

    def memory_mib(self) -> float:
        return float(self._usage.memory_info().rss / 2**20)


@contextmanager
def serving(experiments: int) -> Iterator[NightServer]:
    with TemporaryDirectory() as name:
        server = NightServer(Path(name), experiments)
        try:
            yield server
        finally:
            server.process.kill()
            server.process.wait()


# --- requests ---------------------------------------------------------------------------------------------------------


def request_row(server: NightServer, experiments: int, path: str, seconds: float) -> dict[str, Any]:
    """Call an address from several threads for so many seconds."""
    connection = server.connect()
    first = time.perf_counter()
    size = len(server.get(connection, path))
    first = time.perf_counter() - first
    taken: list[float] = []
    until = time.monotonic() + seconds

    def call() -> None:
        own = server.connect()
        while time.monotonic() < until:
            began = time.perf_counter()
            server.get(own, path)
            taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    began, used = time.perf_counter(), server.cpu_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "address": path,
        "experiments": experiments,
        "kB": size / 1024,
        "first ms": 1000 * first,
        "requests/s": len(taken) / (time.perf_counter() - began),
        "median ms": 1000 * statistics.median(taken),
        "CPU ms": 1000 * (server.cpu_s() - used) / len(taken),
    }


# --- beside a training ------------------------------------------------------------------------------------------------


def training_row(server: NightServer, polls_a_s: float, windows: int, seconds: float) -> dict[str, Any]:
    """Train in windows, in every second one with an open page and so many requests a second."""
    step = warmed(lambda: training_step(trainer(**TINY_CONSTANTS), toy_task()))
    state, beat = write_live(server.layout), threading.Event()
    loop = threading.Thread(target=live, args=(server.layout, state, beat))
    loop.start()
    logs, shares = [], []
    server.get(server.connect(), "/night.html")  # the first drawing loads matplotlib's fonts

    def alone() -> float:
        return speed(step, seconds)

    def beside() -> float:
        used = server.cpu_s()
        with calling(server, polls_a_s):
            found = speed(step, seconds)
        shares.append((server.cpu_s() - used) / seconds)
        return found

    for pair in range(windows):
        measures = (alone, beside) if pair % 2 == 0 else (beside, alone)
        found = {measure: measure() for measure in measures}
        logs.append(math.log(found[beside] / found[alone]))
    beat.set()
    loop.join()
    low, mean, high = percent_interval(logs)
    return {
        "requests/s beside a page's": polls_a_s,
        "pairs": windows,
        "server, % of a core": 100 * statistics.mean(shares),
        "speed %": mean,
        "95% interval": f"{low:+.2f} to {high:+.2f}",
        "server MiB": server.memory_mib(),
    }


def percent_interval(logs: Sequence[float]) -> tuple[float, float, float]:
    """Return the low end, the mean and the high end, in percent, of a change given as logarithms of ratios."""
    mean = statistics.mean(logs)
    wide = t_quantile(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    low, middle, high = (100 * math.expm1(log) for log in (mean - wide, mean, mean + wide))
    return low, middle, high


def speed(step: Callable[[], Any], seconds: float) -> float:
    """Return the training steps a second."""
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        mx.eval(step())
        count += 1
    return count / passed


def live(layout: Layout, state: LiveState, ended: threading.Event) -> None:
    """Change the loop's files as a night does."""
    written = time.monotonic()
    while not ended.wait(0.5):
        state.hear({"event": "step", "step": 1, "progress": 0.5, "loss": 3.0, "tokens": 1000})
        layout.live.write_bytes(state.to_json())
        if time.monotonic() - written > JOURNAL_S:
            written = time.monotonic()
            with Journal(layout) as journal:
                journal.append("note", text="another line")


@contextmanager
def calling(server: NightServer, polls_a_s: float) -> Iterator[None]:
    """Keep a page open, which follows the events and fetches the night when it grows, and ask for what is next."""
    ended = threading.Event()

    def page() -> None:
        stream = server.connect()
        stream.request("GET", "/events", headers=server.headers)
        answer = stream.getresponse()
        while not ended.is_set() and (line := answer.readline()):
            if line.startswith(b"event: note"):
                server.get(server.connect(), "/night.html")
        stream.close()

    def agent() -> None:
        while not ended.wait(1 / polls_a_s):
            server.get(server.connect(), "/next")

    threads = [threading.Thread(target=page)] + [threading.Thread(target=agent)] * (polls_a_s > 0)
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join()


def main(argv: Sequence[str]) -> int:
    options = arguments("pages serve", __doc__)
    options.add_argument("--seconds", type=float, default=2.5, help="of each window of a training (2.5)")
    options.add_argument("--windows", type=int, default=14, help="pairs of windows (14)")
    options.add_argument(
        "--polls",
        type=float,
        nargs="+",
        default=[0, 1, 10],
        metavar="N",
        help="requests a second beside a page's (0 1 10)",
    )
    options.add_argument("--only", choices=["requests", "training"])
    args = options.parse_args(argv)
    seconds, windows = (0.5, 1) if args.quick else (args.seconds, args.windows)
    rows: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    for experiments in (60,) if args.quick or args.only == "training" else (1000, 60):
        with serving(experiments) as server:
            for path in () if args.only == "training" else PATHS[-2:] if args.quick else PATHS:
                rows.append(request_row(server, experiments, path, 0.2 if args.quick else 3.0))
            for polls_a_s in () if experiments != 60 or args.only == "requests" else args.polls:
                beside.append(training_row(server, polls_a_s, windows, seconds))
    return report([*rows, *beside], args)
