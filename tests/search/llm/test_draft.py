"""The state of a draft: what it costs, and what the turn's other drafts have taken."""

from __future__ import annotations

from dataclasses import replace

from autoresearch.records import Proposal, Set
from autoresearch.search.llm.draft import Draft
from testbed.proposer_kit import CONTEXT
from testbed.tuning import SMALL


def test_it_counts_its_costs_and_knows_what_is_taken() -> None:
    earlier = Proposal((Set("MATRIX_LR", "0.08"),), "a", "", "other", "m")
    draft = Draft(replace(CONTEXT, source=SMALL), 7, [earlier])
    draft.answers, draft.prompt_tokens = 2, 30
    assert (draft.usage()["answers"], draft.usage()["prompt_tokens"]) == (2, 30)
    assert len(draft.taken()) == 1
    assert "MATRIX_LR = 0.02" in [entry.title for entry in draft.menu]
    assert "MATRIX_LR = 0.08" not in [entry.title for entry in draft.menu]
