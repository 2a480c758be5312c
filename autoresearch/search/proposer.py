"""Defaults for proposers that repair nothing and hold nothing between turns."""

from __future__ import annotations

from autoresearch.records import Context, Failure, Proposal


class BaseProposer:
    """records.Proposer but for `name` and `propose`. A subclass overrides what it needs.

    Two further methods are optional: `learn` (records.Learning), for a proposer that counts how its ideas end, and
    `drafts_per_load` (hybrid.DraftingProposer), for one that had better be asked for several ideas at once.
    """

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Return a mended version of `proposal`, which failed before training. The default is None: no repair."""
        return None

    def release(self) -> None:
        """Free the memory that training needs, and return when it is free. The default holds none."""

    def close(self) -> None:
        """Free everything at the end of the night. The default holds nothing."""
