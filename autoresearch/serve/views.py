"""Sum a night up for callers: experiments with diffs and logs, the best, what to do next, the machines. No HTTP."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoresearch import texts
from autoresearch.candidate import edits
from autoresearch.candidate.pack import is_packed, readable, unpack
from autoresearch.errors import AutoresearchError, EditError
from autoresearch.findings import hints
from autoresearch.findings.export import shared_machine
from autoresearch.formats import printable, run_name
from autoresearch.paths import TASK_FILE, Layout, tree
from autoresearch.record import inbox
from autoresearch.record.events import Refused
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES, Brief, Edit, Trial, WholeFile
from autoresearch.report import live_state
from autoresearch.report.summary_json import experiment_json
from autoresearch.search import history, policy
from autoresearch.serve.nights import NightReader, Snapshot
from autoresearch.tasks.command import briefs, declaration
from autoresearch.tasks.command.keys import Declaration

LOG_BYTES = 20_000  # of the end of each log
LISTED_EDITS = 4000  # characters; longer edits are in the experiment's diff
Json = dict[str, Any]


def summary(seen: Snapshot, x: Experiment) -> Json:
    """Return an experiment with its figures and runs; `value` is its score as a person reads it."""
    metric, told = seen.night.task.metric, experiment_json(x)
    value = None if x.estimate is None else metric.value(x.estimate)
    if value is not None and metric.scale == "log":
        value = float(f"{value:.12g}")  # 1341 and not 1340.9999999999998
    return told | {"metric": metric.name, "value": value}


def experiment(seen: Snapshot, x: Experiment) -> Json:
    """Return an experiment with its edits, its diff against its parent, and the ends of its logs by run and file."""
    told = summary(seen, x) | {"edits": edit_text(x.proposal.edits), "inbox_id": x.proposal.inbox_id}
    return told | {"diff": _diff(seen, x), "logs": _logs(seen, x)}


def edit_text(change: Sequence[Edit]) -> str | None:
    """Write edits as they can be posted again; None for a whole file, for long ones, and for none."""
    if not change or any(isinstance(edit, WholeFile) for edit in change):
        return None
    try:
        text = edits.render(change)
    except EditError:
        return None
    return text if len(text) <= LISTED_EDITS else None


def _diff(seen: Snapshot, x: Experiment) -> str | None:
    if x.parent_n is None:
        return None
    try:
        old, new = (readable(seen.source_of(n)).splitlines(keepends=True) for n in (x.parent_n, x.n))
    except AutoresearchError as error:
        return f"its diff cannot be shown: {error}"
    return "".join(difflib.unified_diff(old, new, f"#{x.parent_n}", f"#{x.n}"))


def _logs(seen: Snapshot, x: Experiment) -> Json:
    found = {}
    for run in x.runs:
        for path in sorted(seen.layout.run(x.n, run).glob("*.log")):
            if not path.name.startswith("judge") and (text := _end(path)):  # a judge may name what it hides
                found[f"{run_name(run)}, {path.name}"] = text
    return found


def _end(path: Path) -> str:
    """Return the end of a log, which a candidate's process has written: a link or a pipe is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        size = os.fstat(fd).st_size
        end = os.pread(fd, LOG_BYTES, max(0, size - LOG_BYTES))
    except OSError:  # a folder or a pipe
        return ""
    finally:
        os.close(fd)
    return printable(end.decode("utf-8", "replace"), kept="\n\t")


def best(seen: Snapshot) -> Json | None:
    """Return the incumbent with its source, to which edits apply; None before a baseline is measured."""
    x = seen.night.incumbent
    return None if x is None else summary(seen, x) | {"files": files(seen, x.n)}


def files(seen: Snapshot, n: int) -> dict[str, str]:
    """Return the files of experiment n by their names."""
    source = seen.source_of(n)
    return unpack(source) if is_packed(source) else {seen.night.task.files[0]: source}


def near_misses(seen: Snapshot) -> list[Json]:
    """Return the discards since the last keep that came close, the best first."""
    close = policy.near_misses(seen.trials)
    return [summary(seen, seen.night.experiments[t.n]) | {"edits": edit_text(t.edits)} for t in close]


def following(seen: Snapshot) -> Json:
    """Return what a proposer is told for its next turn, except the brief; `tried` is what it need not try again."""
    night = seen.night
    categories = declared_categories(seen.layout)
    brief = None if categories is None else Brief(role="", categories=categories)
    directive = policy.next_directive(seen.trials, night.next_n, brief)
    return {
        "tag": night.tag,
        "experiment": night.next_n,
        "directive": {"kind": directive.kind, "text": directive.text, "category": directive.category},
        "best": best(seen),
        "metric": night.task.metric,
        "task": night.task,
        "machine": shared_machine(night.machine).describe() if night.machine else None,
        "categories": CATEGORIES if categories is None else categories,
        "hints": [line.text for line in hints.lines(night.hinted)],
        "tried": [_tried(t) for t in seen.trials],
    }


def declared_categories(layout: Layout) -> tuple[str, ...] | None:
    """Return the kinds of change that a declared task names; None for training."""
    declared = declaration_of(layout)
    return (declared.categories if declared else ("other",)) if layout.declared else None


def program(layout: Layout) -> str:
    """Return the person's brief, word for word; empty where there is none that can be read."""
    declared = declaration_of(layout)
    return briefs.program(tree(layout.root), declared) if declared else texts.brief(layout.program)


def declaration_of(layout: Layout) -> Declaration | None:
    """Return what the task.toml of a night says now; None for training, and where a person has just broken it."""
    try:
        return declaration.read(texts.decode((tree(layout.root) / TASK_FILE).read_bytes())) if layout.declared else None
    except (AutoresearchError, OSError):
        return None


def _tried(trial: Trial) -> Json:
    return {
        "n": trial.n,
        "title": trial.title,
        "category": trial.category,
        "edits": edit_text(trial.edits),
        "verdict": trial.verdict,
        "summary": history.line(trial, trial.sigma_score or 0.0),
    }


def hypothesis(found: Experiment | Refused | Hypothesis, id: str) -> Json:
    """Return where a hypothesis is: queued, running, decided or refused, and why."""
    if isinstance(found, Hypothesis):
        return {"id": id, "status": "queued", "title": found.title, "why": "it waits for the loop"}
    if isinstance(found, Refused):
        return {"id": id, "status": "refused", "title": found.title, "why": found.why}
    told = {"id": id, "title": found.proposal.title, "experiment": found.n}
    if found.verdict is None and found.status != "quarantined":
        return told | {"status": "running", "why": f"it is experiment {found.n}, {found.status}"}
    return told | {"status": "decided", "verdict": found.verdict or "crash", "why": found.reason}


def hypotheses(reader: NightReader) -> list[Json]:
    """Return the hypotheses of a night: those that the journal knows, in its order, then those that wait.

    Of many that wait, as a person may put them there, the oldest are read.
    """
    night, layout = reader.snapshot().night, reader.layout()
    known: list[tuple[str, Experiment | Refused]] = [(r.inbox_id, r) for r in night.refused]
    known += [(x.proposal.inbox_id, x) for x in night.experiments.values() if x.proposal.inbox_id]
    found = [hypothesis(one, id) for id, one in known]
    for id in inbox.waiting(layout)[: inbox.MOST_WAITING]:
        if night.of_inbox(id) is None:
            found.append(_waiting(layout, id))
    return found


def _waiting(layout: Layout, id: str) -> Json:
    try:
        one = inbox.read(layout, id)
    except EditError as error:
        return {"id": id, "status": "queued", "why": str(error)}
    return hypothesis(one, id) if one else {"id": id, "status": "running", "why": "it has just been taken up"}


def machines(night: Night, running: live_state.LiveState | None) -> list[Json]:
    """Return the machines that runs were made on, the members of a fleet one by one, with what they do now.

    `place` says of a member by what it was given its class.
    """
    found: dict[tuple[str, str | None], Json] = {}
    places = {placed.member: placed.why for placed in night.placed}
    for x in night.experiments.values():
        for run in x.runs.values():
            key = run.machine, run.measurement.member if run.measurement else None
            one = found.setdefault(key, {"machine": run.machine, "member": key[1], "runs": 0, "running": None})
            one["runs"] += 1
            if key[1] in places:
                one["place"] = places[key[1]]
            if run.measurement and run.measurement.tok_s:
                one["tok_s"] = run.measurement.tok_s
            if run.ended is None and running is not None:
                one["running"] = {"experiment": x.n, "run": run.run + 1}
    here = shared_machine(night.machine).describe() if night.machine else None
    classes = {machine for machine, _ in found}
    for one in found.values():
        one["describe"] = here if len(classes) == 1 else None  # the night's own facts, where all are of that kind
    return list(found.values())
