"""Write the message of an experiment's commit."""

from __future__ import annotations

from autoresearch.formats import counted
from autoresearch.record.night import Experiment, Night


def commit_message(night: Night, x: Experiment, machine: str) -> str:
    """Return what was tried and why, val_bpb before and after with its uncertainty, and on which machine.

    The first line is the proposal's title, and the last lines are git trailers: "Experiment: nov23/0007".
    """
    lines = [f"{x.proposal.title}", "", x.proposal.hypothesis, ""]
    if x.estimate is not None and x.delta_score is not None:
        before = x.estimate + x.delta_score
        lines += [
            f"val_bpb {before:.6f} -> {x.estimate:.6f} over {counted(len(x.scores), 'run')}, sigma {x.sigma_score or 0:.6f}"
        ]
    lines += [f"{x.verdict}: {x.reason}", ""]
    task = night.task
    lines += [
        f"Experiment: {night.tag}/{x.n:04d}",
        f"Proposer: {x.proposal.proposer}",
        f"Category: {x.proposal.category}",
        f"Task: {task.dataset}/{task.profile} {task.fingerprint}, {task.budget_s:g} s",
        f"Machine: {machine}",
    ]
    return "\n".join(lines) + "\n"
