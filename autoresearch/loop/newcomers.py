"""Give each member of a fleet its class: compare a newcomer with the machines that measured the baseline before it.

The first member of its kind measures the baseline. Who joins then or later runs it twice, or a few times more
(decide/newcomer.py), before its runs count. One that measures otherwise becomes a class of its own: with a night, an
incumbent and a sigma of its own, so that its values stand beside no others'. The verdict is in the journal of the class
that it was compared with, and holds as long as the machine, its system and its versions are what they were.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from autoresearch.decide.newcomer import RUNS, Compared, compare
from autoresearch.decide.validation import baseline_of
from autoresearch.fleet.pool import Known
from autoresearch.formats import counted
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.runner import Runner
from autoresearch.metrics import Metric
from autoresearch.record.night import MOVED_ON, Experiment, Night


def class_of(night: Night, known: Known, versions: Mapping[str, str], *, alone: bool = True) -> str | None:
    """Return the class that a member makes runs for by the journal of its kind of machine; None: it is to be compared.

    Where no baseline stands, and it is `alone` with that, it measures one, whatever it was before.
    """
    if not _stands(night, versions):
        return known.kind if alone else None
    if (placed := night.place_of(known.id, known.what)) is not None:
        return placed.key
    seen = any(placed.id == known.id for placed in night.placed)
    return known.kind if not seen and _measured(night, known) else None


def founds(notebook: Notebook, known: Known) -> bool:
    """Return whether a member may work for its class once the baseline stands: it has made a run of that, say.

    That it has is put into the journal.
    """
    night = notebook.night
    if (placed := night.place_of(known.id, known.what)) is not None:
        return placed.key == known.kind
    if _measured(night, known):
        _place(notebook, known, known.kind, "it measured the baseline")
        return True
    return False


def admit(runner: Runner, known: Known) -> str | None:
    """Compare a newcomer with its class, and return the key of the class that it belongs to; None where it failed.

    While the baseline is being measured, it makes its runs, and None is returned as well. Runs that an earlier attempt
    made count, unless they led to a verdict.

    Where the runs of a task are pairs of two versions in turns, a pair of one version with itself tells nothing about a
    machine, and no absolute value counts anywhere: there the newcomer measures the incumbent beside the baseline, whose
    difference its class knows. As long as nothing is kept, there is no such difference, and each verdict is made of
    pairs on one machine anyhow.
    """
    notebook = runner.notebook
    if not _stands(notebook.night, runner.task.versions):
        for x in notebook.night.unfinished():
            while x.role == "baseline" and x.scores and len(_runs(notebook.night, x, known)) < RUNS:
                if not _run(runner, known, x):
                    return None
        return None
    shared = _shared_version(notebook)
    if shared is None:
        return _place(notebook, known, known.kind, "runs are pairs on one machine, and nothing is kept to compare by")
    while (found := _compare(notebook, shared, known)) is None or found.verdict is None:
        if not _run(runner, known, shared):
            return None
    runs = _runs(notebook.night, shared, known)
    text = _text(found, notebook.metric, len(runs))
    key = known.kind if found.verdict == "alike" else own_key(known)
    return _place(notebook, known, key, text, n=shared.n, runs=tuple(runs), shift_score=found.shift_score, z=found.z)


def own_key(known: Known) -> str:
    """Return the key of a member's own class: "apple-m4-10gpu-16gb-mini" """
    return f"{known.kind}-{re.sub(r'[^a-z0-9]+', '-', known.name.lower()).strip('-') or known.id[:4]}"


def _stands(night: Night, versions: Mapping[str, str]) -> bool:
    """Return whether there is a baseline that was measured with these versions."""
    return night.incumbent is not None and night.baseline_reason(versions) in (None, MOVED_ON)


def _run(runner: Runner, known: Known, x: Experiment) -> bool:
    """Let a newcomer run a version once more, and return whether it could."""
    if not _runs(runner.notebook.night, x, known):
        runner.notebook.view.say(f"{known.name} is compared with {known.kind} before its runs count ({known.what})")
    return runner.compare_on(known.name, x.n).failure is None


def _measured(night: Night, known: Known) -> bool:
    """Return whether a member has made a run of the baseline that counts."""
    baseline = baseline_of(night)
    return baseline is not None and any(m.member == known.name for m in baseline.measurements if m.ok)


def _shared_version(notebook: Notebook) -> Experiment | None:
    """Return the version that a newcomer is compared by; None where runs are pairs and nothing has been kept."""
    if not any(m.beside for m in notebook.baseline.measurements):
        return notebook.baseline
    return notebook.incumbent if notebook.incumbent.role == "candidate" else None


def _runs(night: Night, x: Experiment, known: Known) -> list[int]:
    """Return the runs of a version by which a member is compared, without those of an earlier verdict."""
    used = {run for placed in night.placed if placed.n == x.n for run in placed.runs}
    runs = [r for r in night.experiments[x.n].runs.values() if r.purpose == "newcomer" and r.run not in used]
    return [r.run for r in runs if r.measurement is not None and r.measurement.member == known.name]


def _compare(notebook: Notebook, x: Experiment, known: Known) -> Compared | None:
    """Compare what a member has measured so far; None where RUNS runs, or as many more, are not complete."""
    now, x = notebook.estimates, notebook.night.experiments[x.n]
    runs = _runs(notebook.night, x, known)
    if not runs or len(runs) % RUNS:
        return None
    own = [value for run in runs if (value := now.value(x.runs[run])) is not None]
    return compare(own, now.estimate(x), now.noise, now.metric)


def _text(found: Compared, metric: Metric, runs: int) -> str:
    """Say how a newcomer compares: "0.0312 bpb worse than the class over 2 runs, 5.2 standard errors"."""
    errors = "" if found.z is None else f", {abs(found.z):.1f} standard errors"
    if found.shift_score == 0:
        return f"the same value as the class over {counted(runs, 'run')}"
    return f"{metric.sided(-found.shift_score)} than the class over {counted(runs, 'run')}{errors}"


def _place(notebook: Notebook, known: Known, key: str, why: str, **found: object) -> str:
    """Record which class a member has, say it, and return the key."""
    about = {"member": known.name, "id": known.id, "what": known.what, "key": key, "why": why}
    notebook.journal.append("placed", **about, **found)
    notebook.view.say(f"{known.name} makes runs for {key}: {why}")
    return key
