"""Make candidates of proposals: apply their edits to the incumbent's source and refuse repeats.

The loop calls `admit`. A proposer may call `changed` first to check its own edits; the result is cached for the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from autoresearch.candidate import edits
from autoresearch.errors import RepeatError
from autoresearch.records import Candidate, Context, Edit, Proposal, Trial
from autoresearch.search import policy

ContractCheck = Callable[[str], tuple[str, ...]]  # the violations of the task's contract in a source

REMEMBERED = 16  # results of `changed`, some 20 KB each


def admit(context: Context, proposal: Proposal, check: ContractCheck) -> Candidate:
    """Return the candidate that `proposal` makes of the context's source.

    The violations that `check` finds are stored in the candidate. Raises EditError when an edit does not apply, and
    RepeatError when the night has already measured the result.
    """
    source = changed(context, proposal.edits)
    return Candidate(source, proposal, context.parent_n, check(source))


def changed(context: Context, change: Sequence[Edit]) -> str:
    """Return the context's source with the edits `change` applied. Raises EditError and RepeatError as `admit` does."""
    return _changed(context.source, tuple(change), tuple(context.history))


@lru_cache(REMEMBERED)
def _changed(parent: str, change: tuple[Edit, ...], history: tuple[Trial, ...]) -> str:
    source = edits.apply(parent, change)
    if (trial := policy.repeat_of(source, parent, history)) is not None:
        raise RepeatError(policy.repeat_sentence(source, trial))
    return source
