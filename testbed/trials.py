"""Make trials for tests of the texts that a model reads."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch.candidate import edits
from autoresearch.records import Edit, Failure, Trial, Verdict
from testbed.reply_cases import SOURCE

SIGMA = 0.004


def trial(
    n: int,
    change: Sequence[Edit],
    verdict: Verdict = "discard",
    sigmas: float | None = -1.0,
    failure: Failure | None = None,
    parent: str = SOURCE,
) -> Trial:
    return Trial(
        n=n,
        proposer="ollama:m",
        title=f"Idea {n}",
        hypothesis="",
        category="learning_rate",
        edits=tuple(change),
        source=edits.apply(parent, change),
        parent_source=parent,
        verdict=verdict,
        reason="",
        delta_score=None if sigmas is None else sigmas * SIGMA,
        sigma_score=SIGMA,
        score=None if failure or sigmas is None else 1.29 - sigmas * SIGMA,
        failure=failure,
    )
