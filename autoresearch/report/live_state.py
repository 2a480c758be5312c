"""Hold the state of the live view as plain data, which the loop fills in and any program can draw.

The loop publishes it as JSON for `loop.py watch`. Both run in one boot of a machine and share its monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch import jsonable
from autoresearch.decide import validation
from autoresearch.decide.early_stop import LossCurve
from autoresearch.decide.estimates import Estimates
from autoresearch.errors import AutoresearchError, JournalError
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.paths import Layout
from autoresearch.record.night import Experiment, Night
from autoresearch.records import MachineState, Proposal, Verdict
from autoresearch.report import analysis, proposer_record
from autoresearch.report.proposer_record import ProposerRecord
from autoresearch.system import process

RESULTS_SHOWN = 12  # of the decided experiments, the latest
LINES_KEPT = 6  # of the lines that the loop said, the latest
SHOWN_POINTS = 400  # of the present run's loss curve; twice as fine as the widest sparkline
PHASES = {"ready": "warming up", "clock_started": "training", "trained": "saving", "saved": "evaluating"}


@dataclass(frozen=True)
class ResultRow:
    """One decided experiment, as a line of the view."""

    n: int
    verdict: Verdict
    title: str
    reason: str
    proposer: str
    score: float | None = None
    sigmas: float | None = None  # its gain, in sigma of one run at that time


@dataclass(frozen=True)
class RunStart:
    """A run that begins, as the view shows it: run `run` of experiment `n`."""

    n: int
    run: int
    title: str
    hypothesis: str = ""
    category: str = ""
    proposer: str = ""

    @classmethod
    def of(cls, n: int, run: int, proposal: Proposal, title: str) -> RunStart:
        return cls(n, run, title, proposal.hypothesis, proposal.category, proposal.proposer)


@dataclass
class LiveState:
    """State of the live view, serialised to runs/TAG/live.json for `watch`.

    Fields ending in `_at` are by time.time(); `started`, `began` and `since` are by time.monotonic().
    """

    tag: str = ""
    metric: Metric = VAL_BPB
    title: str = "starting"
    hypothesis: str = ""
    category: str = ""
    proposer: str = ""
    n: int = 0
    run: int = 0
    phase: str = ""
    budget_s: float = 0.0
    progress: float = 0.0
    step: int = 0
    loss: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)  # as early_stop.LossCurve
    tok_s: float | None = None
    incumbent_curve: LossCurve = ()
    incumbent_tok_s: float | None = None
    incumbent_run_s: float | None = None  # that its latest run took
    incumbent_score: float | None = None
    incumbent_n: int = 0
    incumbent_title: str = ""
    baseline_score: float | None = None
    sigma_score: float | None = None
    history: list[tuple[int, float]] = field(default_factory=list)  # the running best: (experiment, score)
    counts: dict[str, int] = field(default_factory=lambda: {"keep": 0, "discard": 0, "crash": 0})
    results: list[ResultRow] = field(default_factory=list)
    proposers: list[ProposerRecord] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    machine: str = ""
    memory_mb: int | None = None
    machine_state: MachineState | None = None  # as the present run began
    battery: str | None = None  # its charge and how long it lasts; None on mains
    ends_at: float | None = None
    validation_at: float | None = None  # when the final validation begins, if time is reserved for it
    experiments: int | None = None  # the number that this session was asked for
    decided: int = 0  # candidates decided in this session
    earlier_s: float = 0.0  # research time of earlier sessions of the night
    paused_at: float | None = None
    started: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)  # the beginning of the present run
    since: float = field(default_factory=time.monotonic)  # of its present phase
    over: str | None = None  # the reason why the session ended
    mark: str = ""  # process.own_mark() of the loop

    # --- the present run ---

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event of a child."""
        name = event["event"]
        if name == "step":
            self.phase, self.progress, self.loss = "training", event["progress"], event["loss"]
            self.step = event["step"]
            self.curve.append((event["progress"], event["loss"]))
            if len(self.curve) > SHOWN_POINTS:
                self.curve = self.curve[::2]
            self.tok_s = event["tokens"] / (event["progress"] * self.budget_s) if event["progress"] else None
        elif name in ("evaluated", "probed"):
            self.phase = "evaluating" if name == "evaluated" else "probing"
            self.progress = min(1.0, event["rows"] / event["of"])
        elif name == "phase":  # of a declared task
            self.phase, self.progress, self.since = event["phase"], 0.0, time.monotonic()
        elif name in PHASES:
            self.phase, self.progress, self.since = PHASES[name], 0.0, time.monotonic()

    def begin(self, run: RunStart) -> None:
        """Begin a run: forget the previous one."""
        self.n, self.run, self.title, self.hypothesis = run.n, run.run, run.title, run.hypothesis
        self.category, self.proposer = run.category, run.proposer
        self.phase, self.progress, self.step, self.loss, self.tok_s = "starting", 0.0, 0, None, None
        self.curve, self.began = [], time.monotonic()
        self.since = self.began

    def wait(self, text: str) -> None:
        """Show what the loop does between two runs: "looking for the next change (tuner)"."""
        self.begin(RunStart(self.n, self.run, text))
        self.phase = "waiting"

    def say(self, text: str) -> None:
        """Add a line to the last ones that the loop said."""
        self.said = [*self.said[1 - LINES_KEPT :], text]

    # --- the night ---

    def open(
        self,
        tag: str,
        budget_s: float,
        machine: str,
        ends_at: float | None,
        experiments: int | None,
        earlier_s: float,
    ) -> None:
        """Begin the night `tag`: what was asked for, on which machine; earlier starts took `earlier_s` seconds."""
        self.tag, self.budget_s, self.machine = tag, budget_s, machine
        self.ends_at, self.experiments, self.earlier_s = ends_at, experiments, earlier_s

    def reserve(self, validation_at: float | None) -> None:
        """Reserve the night from `validation_at` on for the final validation; None reserves nothing."""
        self.validation_at = validation_at

    def observe(self, machine_state: MachineState, battery: str | None) -> None:
        """Take in the machine's state and the battery's outlook."""
        self.machine_state, self.battery = machine_state, battery

    def pause(self, since: float) -> None:
        """Show a pause that the user asked for at `since`, by time.time()."""
        self.paused_at = since

    def resume(self) -> None:
        """Show that the pause is over."""
        self.paused_at = None

    def end(self, why: str) -> None:
        """End the session. Of several reasons the first one counts."""
        self.over = self.over or why

    def take(self, night: Night, now: Estimates, decided: int) -> None:
        """Take in where the night stands: `now` are its estimates, `decided` counts this session's candidates."""
        self.decided, self.metric = decided, night.task.metric
        self.proposers = proposer_record.records(night)
        tried = analysis.candidates(night)
        self.results = [result_of(x) for x in tried[-RESULTS_SHOWN:]]
        self.counts = {v: sum(analysis.verdict_of(x) == v for x in tried) for v in ("keep", "discard", "crash")}
        incumbent, baseline = night.incumbent, validation.baseline_of(night)
        if incumbent is None or baseline is None:
            return
        self.incumbent_n, self.incumbent_title = incumbent.n, incumbent.proposal.title
        self.incumbent_score, self.baseline_score = now.estimate(incumbent).mean, now.estimate(baseline).mean
        self.sigma_score = now.noise.sigma_score
        self.history = analysis.best_line(night, now)
        last = next((m for m in reversed(incumbent.measurements) if m.ok), None)
        if last is not None:
            self.incumbent_curve, self.incumbent_tok_s = last.loss_curve, last.tok_s
            self.incumbent_run_s = last.total_s

    # --- as JSON ---

    def to_json(self) -> bytes:
        return jsonable.to_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> LiveState:
        """Return the state that another program published. Raises JournalError where it is damaged."""
        try:
            return jsonable.from_json(cls, data)
        except jsonable.MalformedError as error:
            raise JournalError(f"the live state cannot be read: {error}") from None


def result_of(experiment: Experiment) -> ResultRow:
    """Return a decided experiment as a line of the view; a quarantined one counts as a crash."""
    x, verdict = experiment, experiment.verdict or "crash"
    sigmas = x.delta_score / x.sigma_score if x.delta_score is not None and x.sigma_score else None
    return ResultRow(x.n, verdict, x.proposal.title, x.reason, x.proposal.proposer, x.estimate, sigmas)


def published(layout: Layout) -> LiveState | None:
    """Return the state that the night's loop published last; None where there is none, or it is damaged."""
    try:
        return LiveState.from_json(layout.live.read_bytes())
    except (OSError, AutoresearchError):
        return None


def running(layout: Layout) -> LiveState | None:
    """Return the state of the loop that runs the night at this moment; None where none does."""
    state = published(layout)
    return state if state is not None and state.over is None and process.alive(state.mark) else None
