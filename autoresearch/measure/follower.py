"""Follow one child of the harness to its end, by the parent's clock, and end it at a limit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping

from autoresearch.decide.early_stop import AT, EarlyStopCheck
from autoresearch.failures import classify
from autoresearch.formats import printable
from autoresearch.measure import child_events, run_folder
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.timekeeper import Timekeeper
from autoresearch.measure.workbench import FREE_DISK, RunSpec
from autoresearch.records import Failure
from autoresearch.system.pipes import ChildEvent
from autoresearch.system.process import Child

Listener = Callable[[ChildEvent], None]
Judge = Callable[[ChildEvent], Failure | None]

REPEATED = frozenset({"step", "evaluated", "probed", "failed"})  # events that a child may send more than once
SWAP_LIMIT_MB = 2048  # growth of the machine's swap during a run
HEAVY = 2 / 3  # of the memory limit: a run that holds more is what makes the machine swap
PATIENCE_S = 0.25  # seconds to wait for an event
LOOK_S = 0.5  # seconds between looks at memory, disk and swap
LOG_CHARACTERS = 1500  # of the log's end that a failure shows


class Follower:
    """Reader of a child's events into an Outcome. It kills a child that is late or takes too much.

    `limits` are seconds by event: after the event "saved" has come, the next one that has a limit, or the end, must
    come within limits["saved"]. The first limit is that of "start". `name` is the child's, and decides which events it
    has (child_events.py): any other is the run's failure. `judge` may turn an event into a failure; `early_stop` may
    end the run at half the budget, which is not a failure. `beside` returns the bytes of memory that other processes of
    the run hold. `timekeeper` is that of a training, whose event "clock_started" is the feeder's and not the child's.
    """

    def __init__(
        self,
        child: Child,
        token: str,
        spec: RunSpec,
        limits: Mapping[str, float],
        listen: Listener = lambda event: None,
        judge: Judge = lambda event: None,
        early_stop: EarlyStopCheck | None = None,
        *,
        name: str,
        beside: Callable[[], int] = lambda: 0,
        timekeeper: Timekeeper | None = None,
    ) -> None:
        self.name, self.timekeeper = name, timekeeper
        self.child, self.token, self.spec, self.limits = child, token, spec, limits
        self.listen, self.judge, self.early_stop, self.beside = listen, judge, early_stop, beside
        self.outcome = Outcome(started=time.monotonic())
        self.swap_mb = spec.bench.swap_mb()
        self.phase = "start"  # the last event that has a limit
        self.deadline = self.outcome.started + limits["start"]

    def follow(self) -> Outcome:
        """Return when the child has ended; it is killed first where the outcome is settled before."""
        outcome, looked = self.outcome, self.outcome.started
        with self.child:
            while outcome.failure is None and not outcome.stopped:
                got = self.child.next_event(self._patience_s())
                if got is not None and got[1].get("token") == self.token:
                    self._take(*got)
                elif got is None and not self.child.running:
                    break
                now = time.monotonic()
                self._watch_clock()
                outcome.failure = outcome.failure or self._overdue(now)
                if outcome.failure is None and now - looked > LOOK_S:
                    looked, outcome.failure = now, self._excess()
        outcome.ended = time.monotonic()
        if outcome.failure is None and not (outcome.stopped or {"saved", "result"} & outcome.events.keys()):
            outcome.failure = exited(self.child, self.phase)
        if outcome.failure is not None:
            outcome.failure = classify(outcome.failure)
        return outcome

    def _take(self, at: float, said: ChildEvent) -> None:
        outcome = self.outcome
        self._watch_clock()
        if (overdue := self._overdue(at)) is not None:
            outcome.failure = overdue
            return
        try:
            event = child_events.read(self.name, said)
            event = self.timekeeper.counted(event, at, outcome) if self.timekeeper is not None else event
        except child_events.IllFormedError as error:
            outcome.failure = Failure("tampered", f"the child sent {error}")
            return
        name = event["event"]
        if name in outcome.events and name not in REPEATED:
            outcome.failure = Failure("tampered", f"`{name}` was said a second time: one run has one clock")
            return
        if name == "step":
            self._take_loss(event["progress"], event["loss"])
        outcome.events[name] = (at, event)
        if name in self.limits:
            self.phase, self.deadline = name, at + self.limits[name]
        if name == "ready" and self.timekeeper is not None:
            outcome.failure = self.timekeeper.charge(outcome)
        elif name == "failed":
            outcome.failure = child_events.failure(self.name, event, imported="importing" in outcome.events)
        else:
            outcome.failure = self.judge(event)
        self.listen(event)

    def _overdue(self, now: float) -> Failure | None:
        """Return a failure where what the present phase has to bring did not come by its deadline."""
        return _too_late(self.phase, self.limits[self.phase]) if now > self.deadline else None

    def _patience_s(self) -> float:
        return PATIENCE_S if self.timekeeper is None else self.timekeeper.patience_s(PATIENCE_S)

    def _watch_clock(self) -> None:
        """Note that the first batch was handed out, and what the start costs."""
        keeper, outcome = self.timekeeper, self.outcome
        if keeper is None or outcome.failure is not None:
            return
        clock = keeper.clock
        if clock.refused is not None:
            outcome.failure = Failure("tampered", f"the child {clock.refused}")
        elif keeper.begins(outcome) and clock.began is not None:
            event = {"event": "clock_started"}
            outcome.events["clock_started"] = (clock.began, event)
            outcome.failure = keeper.charge(outcome)
            self.phase, self.deadline = "clock_started", clock.began + self.limits["clock_started"] - clock.charged_s
            self.listen(event)

    def _take_loss(self, progress: float, loss: float) -> None:
        outcome = self.outcome
        outcome.curve.append((progress, loss))
        if self.early_stop is not None and outcome.behind_nats is None and progress >= AT:
            outcome.behind_nats = self.early_stop.behind(outcome.curve)
            outcome.stopped = self.early_stop.ends(outcome.behind_nats)

    def _excess(self) -> Failure | None:
        """Return a failure where the child holds too much memory, wrote too much, or makes the machine swap."""
        bench, held = self.spec.bench, self.child.held_bytes() + self.beside()
        if held > bench.memory_limit:
            limit = f"limit {bench.memory_limit / 2**30:.1f} GB"
            return Failure("memory", f"held {held / 2**30:.1f} GB of memory ({limit})")
        written, files = run_folder.written(self.spec.folder, bench.files_limit)
        if written > bench.folder_limit or files > bench.files_limit:
            allowed = f"{bench.folder_limit / 2**30:.1f} GB and {bench.files_limit} files"
            return Failure("disk", f"wrote {written / 2**30:.1f} GB in {files} files (limit {allowed})")
        free = shutil.disk_usage(bench.data.folder).free
        if free < FREE_DISK:
            return Failure("machine", f"only {free / 2**20:.0f} MB of disk are left")
        swapped = bench.swap_mb() - self.swap_mb
        if swapped > SWAP_LIMIT_MB:
            swap = f"the machine swapped {swapped / 1024:.1f} GB out during the run"
            if held > HEAVY * bench.memory_limit:
                return Failure("memory", f"held {held / 2**30:.1f} GB of memory, and {swap}")
            return Failure("machine", swap)
        return None


def _too_late(phase: str, limit_s: float) -> Failure:
    if phase == "start":
        return Failure(
            "startup", f"no training step within {limit_s:.0f} s of start-up: importing, building, warming up"
        )
    if phase == "clock_started":
        return Failure("overrun", f"training did not end by itself within {limit_s:.0f} s")
    return Failure("hang", f"nothing more was heard within {limit_s:.0f} s after `{phase}`")


def exited(child: Child, phase: str) -> Failure:
    """Return the failure of a child that ended without reporting one."""
    code = child.returncode or 0
    number = -code if code < 0 else code - 128 if code > 128 else None  # bwrap reports signal n as 128 + n
    log = printable(child.log_end, "\n")[-LOG_CHARACTERS:]
    how = f"exited with {code}" if number is None else f"was killed by signal {number}"
    return Failure("exited", f"the process {how} after `{phase}`, without a result", log)
