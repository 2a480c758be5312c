"""Propose ideas: the proposers, the policy that steers them, and the record of what each has achieved.

A proposer implements `records.Proposer`. The smallest one subclasses `BaseProposer` and returns proposals whose edits
apply to the incumbent's source:

    from autoresearch.candidate import constants
    from autoresearch.errors import ProposerError
    from autoresearch.records import Context, Proposal, Set
    from autoresearch.search.proposer import BaseProposer

    class Halving(BaseProposer):
        name = "halving"

        def propose(self, context: Context, n: int = 1) -> list[Proposal]:
            tried = {trial.title for trial in context.history}
            for constant, value in constants.read(context.source).items():
                title = f"Halve {constant}"
                if type(value) is float and title not in tried:
                    edit = Set(constant, repr(value / 2))
                    return [Proposal((edit,), title, "Half may be enough.", "other", self.name)]
            raise ProposerError("every constant has been halved", reason="exhausted")

It raises `ProposerError` when it has no idea now; the loop then asks another proposer. `Hybrid` runs it beside others,
and `choose.choose` makes it available to `loop.py run --proposer`. `BaseProposer` says what else a proposer may do.
"""
