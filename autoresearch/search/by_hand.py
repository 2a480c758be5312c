"""No proposer at all: the ideas come from a person, or from an agent that drives itself, through `loop.py try`."""

from __future__ import annotations

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Failure, Proposal


class ByHand:
    name = "by hand"

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        raise ProposerError('ideas come by hand. Run: uv run loop.py try FILE -m "what and why"')

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        return None

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass
