"""Make trials for the tuner: proposals measured by a made-up score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.records import Context, Edit, Failure, Proposal, TaskFacts, Trial

SEQ_LEN = 2048
SIGMA = 0.01
SMALL = """DEPTH = 4
ASPECT_RATIO = 32
HEAD_DIM = 64
TOTAL_BATCH_SIZE = 2**15
MATRIX_LR = 0.04
WEIGHT_DECAY = 0.2
WARMDOWN_RATIO = 0.5
ADAM_BETAS = (0.8, 0.95)


def build_model(task):
    return DEPTH, ASPECT_RATIO, HEAD_DIM


def train(model, run):
    return TOTAL_BATCH_SIZE, MATRIX_LR, WEIGHT_DECAY, WARMDOWN_RATIO, ADAM_BETAS
"""
ConstantsScore = Callable[[dict[str, Any]], float | None]  # val_bpb of the constants; None stands for a crash


def context(source: str, history: Sequence[Trial] = (), **more: Any) -> Context:
    task = TaskFacts(seq_len=SEQ_LEN)
    return Context(source, 1.0, SIGMA, "", task, "", tuple(history), turn=len(history) + 1, **more)


def measured(n: int, parent: str, proposal: Proposal, incumbent_score: float, score: ConstantsScore) -> Trial:
    source = edits.apply(parent, proposal.edits)
    bpb = score(constants.read(source))
    trial = Trial(
        n, proposal.proposer, proposal.title, proposal.hypothesis, proposal.category, proposal.edits, source, parent,
        "crash", "it crashed", None, SIGMA, None,
    )  # fmt: skip
    if bpb is None:
        return replace(trial, failure=Failure("diverged", "nan"))
    delta = incumbent_score - bpb
    return replace(trial, verdict="keep" if delta > 0 else "discard", reason="", delta_score=delta, score=bpb)


def trial(n: int, parent: str, change: Sequence[Edit], delta: float | None, *, keep: bool = False) -> Trial:
    proposal = Proposal(tuple(change), f"idea {n}", "", "other", "x")
    result = measured(n, parent, proposal, 1.0, lambda _: None if delta is None else 1.0 - delta)
    return replace(result, verdict="crash" if delta is None else "keep" if keep else "discard")
