"""What a journal says happened: the pure reducer from events to the state of the night.

Every event has v (schema version), t (ISO 8601 with offset) and type; the other fields by type:

    opened       tag, task, versions, machine, base_commit, options     a loop starts or resumes
    proposed     n, role, proposal, source_sha256, parent_n, parent_commit
    started      n, run, seed, purpose
    measured     n, run, measurement
    decided      n, verdict, reason, delta_bpb, sigma_bpb, z, parent_commit, blob, estimate
    committed    n, commit, ref                                         on the branch, or set aside under a ref
    abandoned    n, run, why                                            Ctrl-C: nobody's fault
    quarantined  n, why                                                 it took the machine down twice
    turn_failed  proposer, reason, usage
    hinted       findings                                               of other machines, told to the proposers
    note         text
    paused                                                              a person wants the machine
    resumed
    closed       why

A run that was started and has not ended when the next `opened` comes was cut off by the machine, not by its idea.
Unknown types are ignored, so that an older program reads on; another schema version is not guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from statistics import fmean
from typing import Any, Literal, get_args

from autoresearch.errors import EditError, JournalError
from autoresearch.record.codec import VERSION, Event, measurement_from_json, proposal_from_json
from autoresearch.records import Failure, Measurement, Proposal, Trial, Verdict

COMPARABLE = ("dataset", "profile", "fingerprint", "budget_s")  # of the task: results compare within one of each
CUT_OFFS = 2  # so many, and an experiment is quarantined

Role = Literal["baseline", "candidate"]
Purpose = Literal["search", "repeat", "incumbent", "final"]
Status = Literal["proposed", "started", "measured", "decided", "abandoned", "quarantined"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    run: int
    seed: int
    purpose: Purpose
    started: float  # POSIX seconds
    ended: Literal["measured", "abandoned", "cut off"] | None = None
    measurement: Measurement | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One numbered candidate and all that is known of it. Absent is None."""

    n: int
    role: Role
    proposal: Proposal
    source_sha256: str
    parent_n: int | None
    parent_commit: str
    status: Status = "proposed"
    runs: Mapping[int, RunRecord] = field(default_factory=dict)
    verdict: Verdict | None = None
    reason: str = ""  # of the verdict, the quarantine or the end by Ctrl-C
    delta_bpb: float | None = None
    sigma_bpb: float | None = None
    z: float | None = None
    estimate: float | None = None  # bits per byte, at the decision
    blob: str | None = None  # git's id of its source
    commit: str | None = None
    ref: str | None = None

    @property
    def measurements(self) -> list[Measurement]:
        """In the order of the runs; the final validation, on another split, left out."""
        return [r.measurement for r in self.runs.values() if r.measurement and r.purpose != "final"]

    @property
    def bpbs(self) -> list[float]:
        return [m.val_bpb for m in self.measurements if m.val_bpb is not None]

    @property
    def unselected(self) -> list[RunRecord]:
        """Measured runs that speak for the noise: a candidate's search run was picked for its value."""
        picked = ("final",) if self.role == "baseline" else ("final", "search")
        return [r for r in self.runs.values() if r.measurement and r.measurement.ok and r.purpose not in picked]

    @property
    def failure(self) -> Failure | None:
        return next((m.failure for m in reversed(self.measurements) if m.failure), None)

    @property
    def stopped(self) -> Measurement | None:
        """The run that the early stop ended: it is no better, and has no val_bpb."""
        return next((m for m in self.measurements if m.stopped), None)

    @property
    def cut_offs(self) -> int:
        return sum(r.ended == "cut off" for r in self.runs.values())

    @property
    def next_run(self) -> int:
        return max(self.runs, default=-1) + 1

    @property
    def open(self) -> bool:
        return self.status in ("proposed", "started", "measured")


@dataclass(frozen=True, slots=True)
class Night:
    """The state of one tag: all that the loop needs to go on, and that a person asks for."""

    tag: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)  # of the latest `opened`, as are the next four
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    base_commit: str = ""
    baseline_versions: Mapping[str, str] = field(default_factory=dict)  # that the incumbent's line was measured with
    experiments: Mapping[int, Experiment] = field(default_factory=dict)
    incumbent_n: int | None = None
    head_moved: bool = False  # the person moved on: HEAD is the incumbent and wants measuring
    turns_failed: tuple[Event, ...] = ()
    hinted: tuple[Event, ...] = ()  # findings/hints.py reads them
    notes: tuple[str, ...] = ()
    sessions: int = 0
    closed: str | None = None  # why the last session ended; None while it runs or when it was killed
    elapsed_s: float = 0.0  # of all sessions, without the pauses between and within them
    pauses: int = 0  # that a person asked for
    paused_s: float = 0.0
    last_t: str | None = None

    @property
    def incumbent(self) -> Experiment | None:
        return None if self.incumbent_n is None else self.experiments[self.incumbent_n]

    @property
    def next_n(self) -> int:
        return max(self.experiments, default=-1) + 1

    @property
    def decided(self) -> list[Experiment]:
        return [e for e in self.experiments.values() if e.verdict]

    @property
    def running(self) -> tuple[Experiment, RunRecord] | None:
        """The run that has begun and not ended; after a kill, the one that was cut off."""
        return next(((e, r) for e in self.experiments.values() for r in e.runs.values() if not r.ended), None)

    def unfinished(self) -> list[Experiment]:
        """Undecided experiments to go on with: a cut-off run is made again, and what was measured counts."""
        return [e for e in self.experiments.values() if e.open and e.cut_offs < CUT_OFFS]

    def abandoned(self) -> list[Experiment]:
        """Ended by Ctrl-C. They may be started again: nothing speaks against the idea."""
        return [e for e in self.experiments.values() if e.status == "abandoned"]

    def to_quarantine(self) -> list[Experiment]:
        return [e for e in self.experiments.values() if e.open and e.cut_offs >= CUT_OFFS]

    def uncommitted(self) -> list[Experiment]:
        """Decided candidates that git may not have yet: killed between the decision and its commit."""
        return [e for e in self.decided if e.role == "candidate" and e.commit is None]

    def replicates(self) -> list[list[RunRecord]]:
        """Unselected runs grouped by unchanged source under one baseline: the material of the noise estimate."""
        groups: dict[tuple[str, int], list[RunRecord]] = {}
        baselines = 0
        for e in self.experiments.values():
            baselines += e.role == "baseline"
            groups.setdefault((e.source_sha256, baselines), []).extend(e.unselected)
        return [group for group in groups.values() if len(group) > 1]

    def trials(self, source_of: Callable[[int], str]) -> list[Trial]:
        """History for proposers, oldest first; `source_of(n)` reads the source of experiment n."""
        done = [
            e for e in self.experiments.values() if e.role == "candidate" and (e.verdict or e.status == "quarantined")
        ]
        return [_trial(e, source_of) for e in done]

    def baseline_reason(self, versions: Mapping[str, str]) -> str | None:
        """Why a new baseline has to be measured before the night goes on; None when the old one stands."""
        if self.incumbent_n is None:
            return "there is no baseline yet"
        if self.head_moved:
            return "the branch went on without the loop"
        pairs = [(name, self.baseline_versions.get(name), versions.get(name)) for name in ("mlx", "harness")]
        return ", ".join(f"{name} {old} -> {new}" for name, old, new in pairs if old != new) or None

    def check_resume(self, task: Mapping[str, Any]) -> None:
        """Raises JournalError when results on `task` would not compare with those of this night."""
        pairs = [(name, self.task.get(name), task.get(name)) for name in COMPARABLE]
        differ = [f"{name} was {old}, is {new}" for name, old, new in pairs if self.sessions and old != new]
        if differ:
            raise JournalError(
                f"the results of {self.tag} would not compare: {'; '.join(differ)}. "
                "Go on with the old data and budget, or begin another branch: uv run loop.py --tag NAME"
            )


def replay(events: Iterable[Event]) -> Night:
    """replay([]) -> Night(). Raises JournalError on an event that contradicts those before it."""
    return reduce(apply, events, Night())


def apply(night: Night, event: Event) -> Night:
    """The night after one more event; `night` itself stays as it was."""
    version = event.get("v")
    if version != VERSION:
        raise JournalError(f"the journal has schema version {version}; this program reads {VERSION}. Update it")
    change = CHANGES.get(str(event.get("type")))
    if change is None:
        return night
    try:
        return _timed(change(night, event), night, event)
    except (KeyError, TypeError, ValueError, AttributeError, EditError) as error:
        raise JournalError(f"the event `{event.get('type')}` of {event.get('t')} makes no sense: {error!r}") from None


def _timed(after: Night, before: Night, event: Event) -> Night:
    """Time passes between two events of one session; the clock of the wall may be set back meanwhile."""
    t = datetime.fromisoformat(event["t"])
    if event["type"] == "opened" or before.last_t is None:
        return replace(after, last_t=event["t"])
    passed = max(0.0, (t - datetime.fromisoformat(before.last_t)).total_seconds())
    if event["type"] == "resumed":
        return replace(after, last_t=event["t"], paused_s=before.paused_s + passed)
    return replace(after, last_t=event["t"], elapsed_s=before.elapsed_s + passed)


# --- one function an event -------------------------------------------------------------------------------------------


def _opened(night: Night, e: Event) -> Night:
    def cut(x: Experiment) -> Experiment:
        return replace(x, runs={k: r if r.ended else replace(r, ended="cut off") for k, r in x.runs.items()})

    return replace(
        night,
        tag=e["tag"],
        task=dict(e["task"]),
        versions=dict(e["versions"]),
        machine=dict(e.get("machine", {})),
        options=dict(e.get("options", {})),
        base_commit=e["base_commit"],
        experiments={n: cut(x) for n, x in night.experiments.items()},
        sessions=night.sessions + 1,
        closed=None,
    )


def _proposed(night: Night, e: Event) -> Night:
    n = int(e["n"])
    _require(n not in night.experiments, f"experiment {n} exists")
    _require(e["role"] in get_args(Role), f"role {e['role']}")
    proposal = proposal_from_json(e["proposal"])
    parent = None if e["parent_n"] is None else int(e["parent_n"])
    x = Experiment(n, e["role"], proposal, e["source_sha256"], parent, e["parent_commit"])
    return replace(night, experiments={**night.experiments, n: x})


def _started(night: Night, e: Event) -> Night:
    x = night.experiments[e["n"]]
    _require(e["run"] not in x.runs, f"run {e['run']} of experiment {x.n} exists")
    _require(e["purpose"] in get_args(Purpose), f"purpose {e['purpose']}")
    run = RunRecord(int(e["run"]), int(e["seed"]), e["purpose"], datetime.fromisoformat(e["t"]).timestamp())
    return _with(night, x, status=x.status if x.verdict else "started", runs={**x.runs, run.run: run})


def _measured(night: Night, e: Event) -> Night:
    x, run = _unended(night, e)
    done = replace(run, ended="measured", measurement=measurement_from_json(e["measurement"]))
    return _with(night, x, status=x.status if x.verdict else "measured", runs={**x.runs, run.run: done})


def _abandoned(night: Night, e: Event) -> Night:
    x, run = _unended(night, e)
    runs = {**x.runs, run.run: replace(run, ended="abandoned")}
    if x.verdict:
        return _with(night, x, runs=runs)
    return _with(night, x, runs=runs, status="abandoned", reason=str(e.get("why", "")))


def _decided(night: Night, e: Event) -> Night:
    x = night.experiments[e["n"]]
    _require(x.verdict is None and x.status != "quarantined", f"experiment {x.n} is {x.verdict or x.status}")
    _require(e["verdict"] in get_args(Verdict), f"verdict {e['verdict']}")
    said = {k: e.get(k) for k in ("delta_bpb", "sigma_bpb", "z", "estimate", "blob")}
    night = _with(night, x, status="decided", verdict=e["verdict"], reason=str(e["reason"]), **said)
    if e["verdict"] != "keep":
        return night
    if x.role == "candidate":
        return replace(night, incumbent_n=x.n)
    return replace(night, incumbent_n=x.n, head_moved=False, baseline_versions=night.versions)


def _committed(night: Night, e: Event) -> Night:
    x = night.experiments[e["n"]]
    _require(bool(x.verdict) or not x.open, f"experiment {x.n} is undecided")
    moved = x.verdict == "keep" and not e["ref"].startswith("refs/heads/")
    night = _with(night, x, commit=str(e["commit"]), ref=e["ref"])
    return replace(night, head_moved=night.head_moved or moved)


def _quarantined(night: Night, e: Event) -> Night:
    x = night.experiments[e["n"]]
    _require(x.verdict is None, f"experiment {x.n} is decided")
    return _with(night, x, status="quarantined", reason=str(e["why"]))


def _turn_failed(night: Night, e: Event) -> Night:
    return replace(night, turns_failed=(*night.turns_failed, e))


def _hinted(night: Night, e: Event) -> Night:
    return replace(night, hinted=tuple(dict(finding) for finding in e["findings"]))


def _note(night: Night, e: Event) -> Night:
    return replace(night, notes=(*night.notes, str(e["text"])))


def _paused(night: Night, e: Event) -> Night:
    return replace(night, pauses=night.pauses + 1)


def _closed(night: Night, e: Event) -> Night:
    return replace(night, closed=str(e["why"]))


CHANGES: Mapping[str, Callable[[Night, Event], Night]] = {
    "opened": _opened,
    "proposed": _proposed,
    "started": _started,
    "measured": _measured,
    "decided": _decided,
    "committed": _committed,
    "abandoned": _abandoned,
    "quarantined": _quarantined,
    "turn_failed": _turn_failed,
    "hinted": _hinted,
    "note": _note,
    "paused": _paused,
    "resumed": lambda night, e: night,
    "closed": _closed,
}


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _with(night: Night, x: Experiment, **changes: Any) -> Night:
    return replace(night, experiments={**night.experiments, x.n: replace(x, **changes)})


def _unended(night: Night, e: Event) -> tuple[Experiment, RunRecord]:
    x = night.experiments[e["n"]]
    run = x.runs[e["run"]]
    _require(run.ended is None, f"run {run.run} of experiment {x.n} was {run.ended}")
    return x, run


def _trial(x: Experiment, source_of: Callable[[int], str]) -> Trial:
    source = source_of(x.n)
    first = next((m for m in x.measurements if m.ok or m.stopped), Measurement(seed=0))
    mean = fmean(x.bpbs) if x.bpbs else None
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
        delta_bpb=x.delta_bpb,
        sigma_bpb=x.sigma_bpb,
        val_bpb=x.estimate if x.estimate is not None else mean,
        failure=Failure("quarantined", x.reason) if x.status == "quarantined" else x.failure,
        tok_s=first.tok_s,
        num_steps=first.num_steps,
        peak_memory_mb=first.peak_memory_mb,
        origin=x.proposal.origin,
    )
