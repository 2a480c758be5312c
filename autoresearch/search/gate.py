"""Make candidates of proposals: the one place where edits are applied to the incumbent and repeats are refused.

A proposer may ask here whether its edits will do, and the loop then makes the candidate; the work is done once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from autoresearch.candidate import edits
from autoresearch.errors import RepeatError
from autoresearch.records import Candidate, Context, Edit, Proposal, Trial
from autoresearch.search import policy

Check = Callable[[str], tuple[str, ...]]  # the violations of the task's contract in a source

REMEMBERED = 16  # sources of some 20 KB, of the latest drafts


def admit(context: Context, parent_n: int, proposal: Proposal, check: Check) -> Candidate:
    """Return the candidate that `proposal` makes of the context's source, which is that of experiment `parent_n`.

    Raises EditError where an edit does not apply, and RepeatError where the night has measured the result already.
    What `check` finds is kept in the candidate.
    """
    source = changed(context, proposal.edits)
    return Candidate(source, proposal, parent_n, check(source))


def changed(context: Context, change: Sequence[Edit]) -> str:
    """Return the context's source with `change`. Raises EditError and RepeatError as `admit` does."""
    return _changed(context.source, tuple(change), tuple(context.history))


@lru_cache(REMEMBERED)
def _changed(parent: str, change: tuple[Edit, ...], history: tuple[Trial, ...]) -> str:
    source = edits.apply(parent, change)
    if (trial := policy.repeat_of(source, parent, history)) is not None:
        raise RepeatError(policy.repeat_sentence(source, trial))
    return source
