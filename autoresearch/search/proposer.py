"""Provide defaults for proposers that repair nothing and hold nothing between turns."""

from __future__ import annotations

from autoresearch.records import Context, Failure, Proposal

NOTHING_LEFT = "nothing_left"  # the reason of a ProposerError that no later turn of the night can differ from


class BaseProposer:
    """Base class of a proposer. A subclass defines `name` and `propose`, and overrides what else it needs.

    Two further methods are optional: `learn` (records.LearningProposer) is for a proposer that counts how its ideas
    end, `drafts_per_load` (hybrid.DraftingProposer) for one that is better asked for several ideas at once.
    """

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Return a mended version of `proposal`, which failed before training. The default is None: no repair."""
        return None

    def release(self, training_mb: float | None = None) -> bool:
        """Free the memory that training needs, and return whether anything stays. The default holds none."""
        return False

    def close(self) -> None:
        """Free everything at the end of the night. The default holds nothing."""
