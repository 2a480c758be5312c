"""Run a night on the toy task in a repository of its own, to be struck by an incident and checked afterwards."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from testbed.toy import git, make_repository, write_toy_data

TASK = ("--dataset", "toy", "--profile", "tiny", "--time-budget")
TUNER = ("--proposer", "tuner")
LIMIT_S = 300.0  # for anything that is waited for
# More constants than the toy has, so that the tuner does not run out of ideas during the night.
RICHER = {
    "LR = 0.01": "BETA1 = 0.9\nBETA2 = 0.95\nFLOOR = 0.1\nROWS = 16\nLR = 0.01",
    "optim.Adam(LR)": "optim.Adam(LR, betas=[BETA1, BETA2])",
    "(1 - run.progress)": "(FLOOR + (1 - FLOOR) * (1 - run.progress))",
    "run.batches(16)": "run.batches(ROWS)",
}


def enrich(root: Path) -> None:
    """Give the toy more constants, and commit."""
    source = (root / "train_mlx.py").read_text()
    for old, new in RICHER.items():
        source = source.replace(old, new)
    (root / "train_mlx.py").write_text(source)
    git(root, "commit", "-q", "-am", "more constants")


class IncidentScene:
    """A repository, a cache and a loop in it; call `check` after each incident."""

    budget_s = 1.0  # of training a run

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_toy_data(folder / "cache" / "data" / "toy" / "tiny")
        self.root = make_repository(folder / "repository")
        enrich(self.root)
        self.env = {**os.environ, "AUTORESEARCH_CACHE": str(folder / "cache")}
        self.decided: dict[int, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, who: tuple[str, ...] = TUNER, **options: Any) -> subprocess.Popen[bytes]:
        """Start the loop; its output is appended to a file."""
        command = [sys.executable, "loop.py", *who, *TASK, f"{self.budget_s:g}", *more]
        with (self.folder / "output").open("ab") as out:
            given = {"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, "env": self.env, **options}
            self.process = subprocess.Popen(command, cwd=self.root, **given)
        return self.process

    def run(self, *more: str, who: tuple[str, ...] = TUNER) -> int:
        """Run the loop to its end; return its exit code."""
        return self.start(*more, who=who).wait(LIMIT_S)

    def interrupt(self) -> int:
        """Press Control-C; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def folders(self) -> list[Path]:
        """Return the folders of nights: one, once there is a journal."""
        return [path.parent for path in (self.root / "runs").glob("*/journal.jsonl")]

    def night(self) -> Night:
        return journal.read(Layout.of(self.folders()[0])) if self.folders() else Night()

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's events; a last line that a kill cut off is left out."""
        lines = [line for folder in self.folders() for line in (folder / "journal.jsonl").read_text().splitlines()]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for(self, reached: Callable[[], bool], what: str) -> float:
        """Wait until `reached()` and return the seconds; raise AssertionError when the loop ends or LIMIT_S pass."""
        began = time.monotonic()
        while not reached():
            ended = self.process is not None and self.process.poll() is not None
            assert not ended or reached(), f"the loop ended before {what}\n{self.said()[-2000:]}"
            assert time.monotonic() - began < LIMIT_S, f"waited in vain for {what}\n{self.said()[-2000:]}"
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_decided(self, count: int) -> float:
        return self.wait_for(lambda: len(self.night().decided) >= count, f"{count} decisions")

    def said(self) -> str:
        """Return what the loop has printed so far."""
        return (self.folder / "output").read_text(errors="replace") if (self.folder / "output").exists() else ""

    def check(self) -> None:
        """Raise AssertionError when a decided result was lost or changed, or the journal replays to two states.

        Raises CalledProcessError when the repository is damaged.
        """
        night = self.night()
        now = {x.n: f"{x.verdict} {x.estimate} {x.blob}" for x in night.decided}
        assert self.decided.items() <= now.items(), "a decided result was lost"
        assert night == self.night(), "the journal replays to two states"
        git(self.root, "fsck", "--no-dangling")
        self.decided = now

    def end(self) -> None:
        """Run a last session, and raise AssertionError unless it decides something and tree and branch agree."""
        before = len(self.night().decided)
        assert self.run("--experiments", "1") == 0, self.said()[-2000:]
        self.check()
        assert len(self.decided) > before
        changed = git(self.root, "status", "--porcelain")
        assert not changed, changed


def lost_s(night: Night, events: list[dict[str, Any]]) -> float:
    """Return the seconds of runs that did not count, up to the next event of the same session."""
    lost = 0.0
    for event, after in itertools.pairwise(events):
        if event["type"] == "started" and after["type"] != "opened":
            run = night.experiments[event["n"]].runs[event["run"]]
            lost += time_of(after) - time_of(event) if run.ended != "measured" else 0.0
    return lost


def time_of(event: dict[str, Any]) -> float:
    """Return an event's time in seconds since 1970."""
    return datetime.fromisoformat(event["t"]).timestamp()
