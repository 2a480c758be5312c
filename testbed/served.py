"""Serve a made-up night over real HTTP, from a thread of this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from autoresearch.paths import Layout
from autoresearch.report.live_state import LiveState, RunStart
from autoresearch.serve import access, app, command
from autoresearch.serve.nights import NightReader
from autoresearch.system import process
from testbed.night_builder import NightBuilder

TOKEN = "a-token-of-the-tests-alone"
BEARER = {"authorization": f"Bearer {TOKEN}"}
TAG = "nov23"
# `python -c SERVE CHECKOUT serve ...` is loop.py in another checkout.
SERVE = "import sys; from pathlib import Path; import loop; loop.ROOT = Path(sys.argv.pop(1)); sys.exit(loop.main())"


@dataclass
class Served:
    """A server that runs, the night that it serves, and a client that knows the token."""

    layout: Layout
    port: int
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(root: Path, tag: str | None = None, port: int = 0) -> Iterator[Served]:
    """Serve the checkout `root`, by default on a free port."""
    with command.listening("127.0.0.1", port) as listener:
        port = listener.getsockname()[1]
        made = app.create(NightReader(root, tag), stopping=lambda: server.should_exit)
        guard = access.Guard(made, TOKEN, cookie="autoresearch-test")
        server = uvicorn.Server(command.settings(guard))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=BEARER, timeout=60) as client:
                yield Served(Layout(root, tag or TAG), port, client)
        finally:
            server.should_exit = True
            thread.join()


def write_night(root: Path, experiments: int = 9) -> NightBuilder:
    """Write a night to the checkout `root`."""
    made = NightBuilder(tag=TAG).try_all(experiments)
    made.write(Layout(root, TAG).folder)
    return made


def write_live(layout: Layout, mark: str | None = None, **changes: object) -> LiveState:
    """Publish the state of a loop in the middle of a run, by default of one that lives as long as this process."""
    state = LiveState(tag=layout.tag, budget_s=300.0, mark=mark or process.own_mark())
    state.incumbent_curve, state.incumbent_n = tuple((p / 20, 6.0 - 3 * p / 20) for p in range(21)), 5
    state.begin(RunStart(10, 0, "Halve the batch", "More steps.", "batch", "tuner"))
    for p in range(1, 11):
        state.hear({"event": "step", "step": 10 * p, "progress": p / 20, "loss": 6.1 - 3 * p / 20, "tokens": 4000 * p})
    for name, value in changes.items():
        setattr(state, name, value)
    layout.live.write_bytes(state.to_json())
    return state
