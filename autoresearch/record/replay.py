"""Replay the events of a journal to the state of the night: a pure reducer. No I/O.

`apply(night, event)` gives the night after one more event; `replay` folds it over all events of a journal. An event
that contradicts the night (a second verdict, a run that never started) raises JournalError, and because the journal
applies an event before it writes it, such an event is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from autoresearch.errors import JournalError
from autoresearch.record.events import (
    TYPES,
    Abandoned,
    Closed,
    Committed,
    Decided,
    Event,
    Hinted,
    Measured,
    Note,
    Opened,
    Paused,
    Placed,
    Proposed,
    Quarantined,
    Refused,
    Resumed,
    Started,
    TurnFailed,
)
from autoresearch.record.night import Experiment, Night, RunRecord


def replay(events: Iterable[Event]) -> Night:
    """Return the night after all `events`; replay([]) -> Night(). Raises JournalError as `apply`."""
    return reduce(apply, events, Night())


def apply(night: Night, event: Event) -> Night:
    """Return the night after one more event; `night` itself stays as it was.

    An event of an unknown type changes nothing. Raises JournalError where the event contradicts the night.
    """
    change = CHANGES.get(type(event))
    if change is None:
        return night
    try:
        return _timed(change(night, event), event)
    except _ContradictionError as error:
        raise JournalError(f"the event `{_name(event)}` of {event.t} makes no sense: {error}") from None


class _ContradictionError(Exception):
    """Refusal of an event that cannot have happened in this night."""


def _name(event: Event) -> str:
    return next(name for name, kind in TYPES.items() if kind is type(event))


def _timed(night: Night, event: Event) -> Night:
    """Add the time since the last event: to the pauses for `resumed`, to the night for any other.

    The time before `opened` belongs to no session. A clock that was set back adds nothing.
    """
    if isinstance(event, Opened) or night.last_t is None:
        return replace(night, last_t=event.t)
    passed_s = max(0.0, (event.t - night.last_t).total_seconds())
    if isinstance(event, Resumed):
        return replace(night, last_t=event.t, paused_s=night.paused_s + passed_s)
    return replace(night, last_t=event.t, elapsed_s=night.elapsed_s + passed_s)


# --- one function per type of event ----------------------------------------------------------------------------------


def _opened(night: Night, e: Opened) -> Night:
    running = {x.n for x in night.experiments.values() for r in x.runs.values() if r.searched and not r.ended}

    def cut(x: Experiment) -> Experiment:
        off = {k: replace(r, ended="cut off", alone=running == {x.n}) for k, r in x.runs.items() if not r.ended}
        return replace(x, runs={**x.runs, **off}) if off else x

    return replace(
        night,
        tag=e.tag,
        task=e.task,
        versions=e.versions,
        machine=e.machine,
        options=e.options,
        fleet=e.options.get("fleet", night.fleet),
        base_commit=night.base_commit or e.base_commit,
        experiments={n: cut(x) for n, x in night.experiments.items()},
        sessions=night.sessions + 1,
        interruptions=night.interruptions + night.interrupted,
        closed=None,
    )


def _proposed(night: Night, e: Proposed) -> Night:
    _require(e.n not in night.experiments, f"experiment {e.n} exists")
    if e.proposal.inbox_id is not None:
        _require_new(night, e.proposal.inbox_id)
    x = Experiment(e.n, e.role, e.proposal, e.source_sha256, e.parent_n, e.parent_commit, night.incumbent_n)
    return replace(night, experiments={**night.experiments, e.n: x})


def _started(night: Night, e: Started) -> Night:
    x = _experiment(night, e.n)
    _require(e.run not in x.runs, f"run {e.run} of experiment {x.n} exists")
    run = RunRecord(e.run, e.seed, e.purpose, e.machine, e.t.timestamp())
    return _with(night, x, status=x.status if x.verdict else "started", runs={**x.runs, run.run: run})


def _measured(night: Night, e: Measured) -> Night:
    x, run = _running(night, e.n, e.run)
    done = replace(run, ended="measured", measurement=e.measurement)
    return _with(night, x, status=x.status if x.verdict else "measured", runs={**x.runs, run.run: done})


def _abandoned(night: Night, e: Abandoned) -> Night:
    x, run = _running(night, e.n, e.run)
    runs = {**x.runs, run.run: replace(run, ended="abandoned")}
    if x.verdict or not run.searched:
        return _with(night, x, runs=runs)
    return _with(night, x, runs=runs, status="abandoned", reason=e.why)


def _decided(night: Night, e: Decided) -> Night:
    x = _experiment(night, e.n)
    _require(x.verdict is None and x.status != "quarantined", f"experiment {x.n} is {x.verdict or x.status}")
    figures = {name: getattr(e, name) for name in ("delta_score", "sigma_score", "z", "estimate", "blob")}
    night = _with(night, x, status="decided", verdict=e.verdict, reason=e.reason, **figures)
    if e.verdict != "keep":
        return night
    if x.role == "candidate":
        return replace(night, incumbent_n=x.n)
    return replace(night, incumbent_n=x.n, head_moved=False, baseline_versions=night.versions)


def _committed(night: Night, e: Committed) -> Night:
    x = _experiment(night, e.n)
    _require(bool(x.verdict) or not x.open, f"experiment {x.n} is undecided")
    moved = x.verdict == "keep" and not e.ref.startswith("refs/heads/")
    night = _with(night, x, commit=e.commit, ref=e.ref)
    return replace(night, head_moved=night.head_moved or moved)


def _quarantined(night: Night, e: Quarantined) -> Night:
    x = _experiment(night, e.n)
    _require(x.verdict is None, f"experiment {x.n} is decided")
    return _with(night, x, status="quarantined", reason=e.why)


def _refused(night: Night, e: Refused) -> Night:
    _require_new(night, e.inbox_id)
    return replace(night, refused=(*night.refused, e))


CHANGES: Mapping[type[Event], Callable[[Night, Any], Night]] = {
    Opened: _opened,
    Proposed: _proposed,
    Started: _started,
    Measured: _measured,
    Abandoned: _abandoned,
    Decided: _decided,
    Committed: _committed,
    Quarantined: _quarantined,
    Refused: _refused,
    TurnFailed: lambda night, e: replace(night, turns_failed=(*night.turns_failed, e)),
    Hinted: lambda night, e: replace(night, hinted=e.findings),
    Placed: lambda night, e: replace(night, placed=(*night.placed, e)),
    Note: lambda night, e: replace(night, notes=(*night.notes, e.text)),
    Paused: lambda night, e: replace(night, pauses=night.pauses + 1),
    Resumed: lambda night, e: night,
    Closed: lambda night, e: replace(night, closed=e.why),
}


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _ContradictionError(otherwise)


def _require_new(night: Night, inbox_id: str) -> None:
    _require(night.of_inbox(inbox_id) is None, f"hypothesis {inbox_id} of the inbox was taken up before")


def _experiment(night: Night, n: int) -> Experiment:
    _require(n in night.experiments, f"there is no experiment {n}")
    return night.experiments[n]


def _running(night: Night, n: int, run: int) -> tuple[Experiment, RunRecord]:
    x = _experiment(night, n)
    _require(run in x.runs, f"run {run} of experiment {n} never started")
    found = x.runs[run]
    _require(found.ended is None, f"run {run} of experiment {n} was {found.ended}")
    return x, found


def _with(night: Night, x: Experiment, **changes: Any) -> Night:
    return replace(night, experiments={**night.experiments, x.n: replace(x, **changes)})
