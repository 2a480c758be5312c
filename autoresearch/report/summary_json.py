"""Sum up a night and an experiment as JSON, for scripts: `status --json` and `show N --json`.

Names are those of the journal and the report; runs are counted from 1. What is not known is left out.
"""

from __future__ import annotations

from typing import Any

from autoresearch.jsonable import plain
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.report import analysis

RUN_FIELDS = ("score", "num_steps", "total_tokens", "tok_s", "training_s", "total_s", "peak_memory_mb", "num_params")


def night_json(night: Night, *, running: bool) -> dict[str, Any]:
    """Return headline, task, machine and experiments of a night that runs at this moment or does not."""
    h, now = analysis.headline(night), night.running
    summary = {
        "tag": night.tag,
        "task": night.task,
        "machine": night.machine,
        "closed": night.closed,
        "headline": h,
        "incumbent": night.incumbent_n,
        "running": {"experiment": now[0].n, "run": now[1].run + 1} if now and running else None,
        "experiments": [experiment_json(x) for x in night.experiments.values()],
    }
    found: dict[str, Any] = plain(summary)
    return found


def experiment_json(x: Experiment) -> dict[str, Any]:
    """Return an experiment with its runs; `val_bpb` is its estimate at the decision, lower is better."""
    summary = {
        "n": x.n,
        "role": x.role,
        "title": x.proposal.title,
        "hypothesis": x.proposal.hypothesis,
        "category": x.proposal.category,
        "proposer": x.proposal.proposer,
        "verdict": x.verdict,
        "status": x.status,
        "reason": x.reason,
        "score": x.estimate,
        "delta_score": x.delta_score,
        "sigma_score": x.sigma_score,
        "z": x.z,
        "parent": x.parent_n,
        "commit": x.commit,
        "ref": x.ref,
        "runs": [_run_json(run) for run in x.runs.values()],
    }
    found: dict[str, Any] = plain(summary)
    return found


def _run_json(run: RunRecord) -> dict[str, Any]:
    m = run.measurement
    said = {"run": run.run + 1, "seed": run.seed, "purpose": run.purpose, "machine": run.machine, "ended": run.ended}
    measured = {name: getattr(m, name) for name in RUN_FIELDS} if m else {}
    return {**said, **measured, "failure": m.failure if m else None}
