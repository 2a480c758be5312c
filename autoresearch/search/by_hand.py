"""Stand in for a proposer in `loop.py try`, whose ideas come from the command line."""

from __future__ import annotations

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Proposal
from autoresearch.search.proposer import BaseProposer
from autoresearch.system.invocation import command


class ByHand(BaseProposer):
    """Proposer of nothing: every `propose` raises ProposerError."""

    name = "by hand"

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        how = command('loop.py try FILE -m "what and why"')
        raise ProposerError(f"no proposer is running. To try an idea, run: {how}")
