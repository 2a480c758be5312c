"""Write the message of an experiment's commit."""

from __future__ import annotations

from autoresearch.formats import counted
from autoresearch.record.night import Experiment, Night
from autoresearch.records import GPT, TaskFacts


def commit_message(night: Night, x: Experiment, machine: str) -> str:
    """Return what was tried and why, the metric before and after with its uncertainty, and on which machine.

    The first line is the proposal's title, and the last lines are git trailers: "Experiment: nov23/0007".
    """
    lines = [f"{x.proposal.title}", "", x.proposal.hypothesis, ""]
    if x.estimate is not None and x.delta_score is not None:
        metric, runs = night.task.metric, counted(len(x.scores), "run")
        before, sigma = metric.text(x.estimate + x.delta_score), metric.size(x.sigma_score or 0.0)
        lines += [f"{before} -> {metric.shown(x.estimate)} over {runs}, sigma {sigma}"]
    lines += [f"{x.verdict}: {x.reason}", ""]
    task = night.task
    lines += [
        f"Experiment: {night.tag}/{x.n:04d}",
        f"Proposer: {x.proposal.proposer}",
        f"Category: {x.proposal.category}",
        f"Task: {_described(task)}",
        f"Machine: {machine}",
    ]
    return "\n".join(lines) + "\n"


def _described(task: TaskFacts) -> str:
    """Return a task in a line: "climbmix/mac 3f2a9c, 300 s", and of a declared one "sql 3f2a9c, p50_ms"."""
    if task.name != GPT or task.budget_s is None:
        return f"{task.name} {task.fingerprint}, {task.metric.name}"
    return f"{task.dataset}/{task.profile} {task.fingerprint}, {task.budget_s:g} s"
