"""Define the state of a night: its experiments, their runs, and what is asked of them. No I/O.

replay.py makes it from the events of a journal; nothing else changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any, Literal

from autoresearch.errors import JournalError
from autoresearch.record.events import Placed, Refused, TurnFailed
from autoresearch.records import COMPARABLE, Failure, Measurement, Proposal, Purpose, Role, TaskFacts, Trial, Verdict
from autoresearch.system.invocation import command

MOVED_ON = "the branch has moved on without the loop"  # a reason for a new baseline
INTERRUPTED = (None, "terminated", "an error")  # how a session ended that was not stopped by its user or its limits
CUT_OFFS = 2  # an experiment that took the machine down this often is quarantined
MOST_CUT_OFFS = 4  # the same of one that others ran beside each time, as in a fleet: any of them may be at fault

Status = Literal["proposed", "started", "measured", "decided", "abandoned", "quarantined"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of an experiment, from its start to its end. It is `cut off` if the machine went down meanwhile."""

    run: int  # counted from 0 within the experiment
    seed: int
    purpose: Purpose
    machine: str  # Facts.slug() of the machine that ran it
    started: float  # POSIX seconds
    ended: Literal["measured", "abandoned", "cut off"] | None = None
    measurement: Measurement | None = None
    alone: bool = False  # no other experiment ran when it was cut off

    @property
    def searched(self) -> bool:
        """Whether the search counts it: a final one is of another split, a newcomer's is compared and no more."""
        return self.purpose not in ("final", "newcomer")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One numbered candidate and all that is known of it. What is not known is None."""

    n: int
    role: Role
    proposal: Proposal
    source_sha256: str
    parent_n: int | None
    parent_commit: str
    under: int | None = None  # the incumbent when it was proposed; in a fleet another one may stand at its verdict
    status: Status = "proposed"
    runs: Mapping[int, RunRecord] = field(default_factory=dict)
    verdict: Verdict | None = None
    reason: str = ""  # of the verdict, of the quarantine, or why a run was abandoned
    delta_score: float | None = None  # incumbent - candidate at the decision: positive is better
    sigma_score: float | None = None
    z: float | None = None
    estimate: float | None = None  # bits per byte, at the decision
    blob: str | None = None  # git's id of its source
    commit: str | None = None
    ref: str | None = None

    @property
    def measurements(self) -> list[Measurement]:
        """The measurements that the search counts, in the order of the runs."""
        return [r.measurement for r in self.runs.values() if r.measurement and r.searched]

    @property
    def scores(self) -> list[float]:
        """The score of each run that the search counts and that has one."""
        return [m.score for m in self.measurements if m.score is not None]

    @property
    def unselected(self) -> list[RunRecord]:
        """The measured runs that sigma may be estimated from, because they were not selected for a good value.

        A candidate earns its second run by its first one, so the first one (purpose `search`) is left out.
        """
        runs = [r for r in self.runs.values() if r.measurement and r.measurement.ok and r.searched]
        return [r for r in runs if self.role == "baseline" or r.purpose != "search"]

    @property
    def failure(self) -> Failure | None:
        """The failure of the latest run that failed."""
        return next((m.failure for m in reversed(self.measurements) if m.failure), None)

    @property
    def stopped(self) -> Measurement | None:
        """The run that the early stop ended, which has no score."""
        return next((m for m in self.measurements if m.stopped), None)

    @property
    def cut_offs(self) -> int:
        """How often the machine went down during a run that the search counts."""
        return sum(r.ended == "cut off" and r.searched for r in self.runs.values())

    @property
    def at_fault(self) -> bool:
        """Whether it took the machine down: it was cut off twice, and ran alone at last; or again and again."""
        latest = [r for r in self.runs.values() if r.ended == "cut off" and r.searched][-1:]
        alone = any(r.alone for r in latest)
        return self.cut_offs >= (CUT_OFFS if alone else MOST_CUT_OFFS)

    @property
    def next_run(self) -> int:
        """The number of the next run."""
        return max(self.runs, default=-1) + 1

    @property
    def open(self) -> bool:
        """Whether it still waits for runs or a verdict."""
        return self.status in ("proposed", "started", "measured")


@dataclass(frozen=True, slots=True)
class Night:
    """State of one tag: all that the loop needs to resume it, and that a user asks for."""

    tag: str = ""
    task: TaskFacts = field(default_factory=TaskFacts)  # this and the next three are of the latest `opened`
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    fleet: str | None = None  # tag of the fleet, of which this night is one class's
    base_commit: str = ""  # that the branch was begun at
    baseline_versions: Mapping[str, str] = field(default_factory=dict)  # with which the latest baseline was measured
    experiments: Mapping[int, Experiment] = field(default_factory=dict)
    incumbent_n: int | None = None
    head_moved: bool = False  # the user committed to the branch: HEAD must be measured before the loop continues
    turns_failed: tuple[TurnFailed, ...] = ()
    refused: tuple[Refused, ...] = ()  # hypotheses of the inbox that made no candidate
    hinted: tuple[Mapping[str, Any], ...] = ()  # of the latest `hinted`; findings/hints.py reads it
    placed: tuple[Placed, ...] = ()  # members of a fleet, each as often as it was given a class
    notes: tuple[str, ...] = ()
    sessions: int = 0
    interruptions: int = 0  # sessions that a kill, a shutdown or an error ended, and that another one resumed
    closed: str | None = None  # why the latest session ended; None while it runs and when it was killed
    elapsed_s: float = 0.0  # of all sessions together, without pauses
    pauses: int = 0  # that the user asked for
    paused_s: float = 0.0
    last_t: datetime | None = None  # of the latest event

    @property
    def resuming(self) -> str:
        """The arguments with which this night goes on: those of its fleet, where it has one."""
        if self.fleet is not None:
            return f"loop.py --fleet --tag {self.fleet}"
        return f"loop.py --tag {self.tag}" if self.tag else "loop.py"

    @property
    def incumbent(self) -> Experiment | None:
        """The experiment that was kept last."""
        return None if self.incumbent_n is None else self.experiments[self.incumbent_n]

    @property
    def interrupted(self) -> bool:
        """Whether the latest session was killed or failed, or still runs."""
        return self.sessions > 0 and (self.closed in INTERRUPTED or self.running is not None)

    @property
    def next_n(self) -> int:
        """The number of the next experiment."""
        return max(self.experiments, default=-1) + 1

    @property
    def decided(self) -> list[Experiment]:
        """The experiments with a verdict, baselines included."""
        return [x for x in self.experiments.values() if x.verdict]

    @property
    def running(self) -> tuple[Experiment, RunRecord] | None:
        """The run that has started and not ended; after a kill it is the one that was cut off."""
        return next(((x, r) for x in self.experiments.values() for r in x.runs.values() if not r.ended), None)

    def place_of(self, id: str, what: str) -> Placed | None:
        """Return which class a fleet's member `id` was given while it was `what` it is now; None where none was."""
        return next((p for p in reversed(self.placed) if (p.id, p.what) == (id, what)), None)

    def of_inbox(self, id: str) -> Experiment | Refused | None:
        """Return what became of a hypothesis of the inbox; None where the loop has not taken it up."""
        found = (x for x in self.experiments.values() if x.proposal.inbox_id == id)
        return next(found, None) or next((r for r in self.refused if r.inbox_id == id), None)

    def ancestry(self, x: Experiment) -> list[Experiment]:
        """Return the experiments that `x` grew from, the baseline first and `x` last."""
        found = [x]
        while (parent_n := found[-1].parent_n) is not None:
            found.append(self.experiments[parent_n])
        return found[::-1]

    def unfinished(self) -> list[Experiment]:
        """Return the undecided experiments to resume. A run that was cut off is repeated; what was measured counts."""
        return [x for x in self.experiments.values() if x.open and not x.at_fault]

    def abandoned(self) -> list[Experiment]:
        """Return the experiments that Ctrl-C ended. They may be resumed, since nothing speaks against the idea."""
        return [x for x in self.experiments.values() if x.status == "abandoned"]

    def to_quarantine(self) -> list[Experiment]:
        """Return the undecided experiments that took the machine down too often."""
        return [x for x in self.experiments.values() if x.open and x.at_fault]

    def uncommitted(self) -> list[Experiment]:
        """Return the decided candidates without a commit: the loop was killed between the two."""
        return [x for x in self.decided if x.role == "candidate" and x.commit is None]

    def replicates(self) -> list[list[RunRecord]]:
        """Group the unselected runs that differ by chance alone; sigma is estimated from the groups of two and more.

        The runs of a group have the same source and machine and were made under the same baseline, since after a new
        one (another MLX, say) the same source may give other values. Of runs in turns with another version and of runs
        by themselves a group has the former alone.
        """
        groups: dict[tuple[str, str, int], list[RunRecord]] = {}
        baselines = 0
        for x in self.experiments.values():
            baselines += x.role == "baseline"
            for run in x.unselected:
                groups.setdefault((x.source_sha256, run.machine, baselines), []).append(run)
        return [alike for group in groups.values() if len(alike := _alike(group)) > 1]

    def trials(self, source_of: Callable[[int], str]) -> list[Trial]:
        """Return the history that proposers see, oldest first. `source_of(n)` returns the source of experiment n."""
        settled = [x for x in self.experiments.values() if x.verdict or x.status == "quarantined"]
        return [self.trial(x, source_of) for x in settled if x.role == "candidate"]

    def trial(self, x: Experiment, source_of: Callable[[int], str]) -> Trial:
        """Return an experiment as proposers see it."""
        return _trial(x, source_of)

    def baseline_reason(self, versions: Mapping[str, str]) -> str | None:
        """Say why a new baseline has to be measured with the present `versions`; None where the old one stands.

        E.g. "there is no baseline yet", "the branch has moved on without the loop", "mlx 0.32.4 -> 0.33.0".
        """
        if self.incumbent_n is None:
            return "there is no baseline yet"
        if self.head_moved:
            return MOVED_ON
        pairs = [(name, self.baseline_versions.get(name), versions.get(name)) for name in ("mlx", "harness")]
        return ", ".join(f"{name} {old} -> {new}" for name, old, new in pairs if old != new) or None

    def check_resume(self, task: TaskFacts) -> None:
        """Raise JournalError where results on `task` would not compare with those of this night."""
        pairs = [(name, getattr(self.task, name), getattr(task, name)) for name in COMPARABLE]
        differ = [f"{name} was {old}, is {new}" for name, old, new in pairs if self.sessions and old != new]
        if differ:
            raise JournalError(
                f"the results of {self.tag} would not compare: {'; '.join(differ)}. "
                f"Use the old data and budget, or begin another branch: {command('loop.py --tag NAME')}"
            )


def _trial(x: Experiment, source_of: Callable[[int], str]) -> Trial:
    source = source_of(x.n)
    first = next((m for m in x.measurements if m.ok or m.stopped), Measurement(seed=0))
    mean = fmean(x.scores) if x.scores else None
    return Trial(
        n=x.n,
        proposer=x.proposal.proposer,
        title=x.proposal.title,
        hypothesis=x.proposal.hypothesis,
        category=x.proposal.category,
        edits=x.proposal.edits,
        source=source,
        parent_source=source if x.parent_n is None else source_of(x.parent_n),
        verdict=x.verdict or "crash",
        reason=x.reason,
        delta_score=x.delta_score,
        sigma_score=x.sigma_score,
        score=x.estimate if x.estimate is not None else mean,
        failure=Failure("quarantined", x.reason) if x.status == "quarantined" else x.failure,
        tok_s=first.tok_s,
        num_steps=first.num_steps,
        peak_memory_mb=first.peak_memory_mb,
        origin=x.proposal.origin,
    )


def _alike(group: list[RunRecord]) -> list[RunRecord]:
    return [run for run in group if run.measurement and run.measurement.beside] or group
