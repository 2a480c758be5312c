"""The gate between a proposal and the candidate that is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.candidate import edits
from autoresearch.errors import EditError, RepeatError
from autoresearch.records import Proposal, Set
from autoresearch.search import gate
from testbed.proposer_kit import CONTEXT, discarded
from testbed.reply_cases import SOURCE

SHALLOWER = Proposal((Set("DEPTH", "6"),), "Shallower", "More steps.", "depth", "tuner")


def unchecked(source: str) -> tuple[str, ...]:
    return ()


def test_a_candidate_is_the_proposal_applied_with_what_the_check_found() -> None:
    seen: list[str] = []

    def check(source: str) -> tuple[str, ...]:
        seen.append(source)
        return ("line 1: no",)

    candidate = gate.admit(replace(CONTEXT, parent_n=4), SHALLOWER, check)
    assert candidate.source == edits.apply(SOURCE, SHALLOWER.edits) and seen == [candidate.source]
    assert (candidate.proposal, candidate.parent_n, candidate.violations) == (SHALLOWER, 4, ("line 1: no",))


def test_what_was_measured_already_and_what_does_not_apply_are_refused() -> None:
    tried = replace(CONTEXT, history=[discarded(3, Set("DEPTH", "6"))])
    with pytest.raises(RepeatError, match="experiment 3 again"):
        gate.admit(tried, SHALLOWER, unchecked)
    assert gate.changed(CONTEXT, SHALLOWER.edits)  # another night has not measured it
    with pytest.raises(EditError, match="DEPHT"):
        gate.admit(CONTEXT, replace(SHALLOWER, edits=(Set("DEPHT", "6"),)), unchecked)


def test_a_proposer_and_the_loop_ask_and_the_work_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    apply, calls = edits.apply, []
    monkeypatch.setattr(edits, "apply", lambda *given: calls.append(given) or apply(*given))
    context, change = replace(CONTEXT, source=SOURCE + "\n"), (Set("DEPTH", "5"),)
    made = gate.changed(context, change)
    assert gate.admit(context, replace(SHALLOWER, edits=change), unchecked).source == made
    assert len(calls) == 1
