"""Ideas that come by hand are proposed by nobody."""

from __future__ import annotations

import pytest

from autoresearch.errors import ProposerError
from autoresearch.records import Failure, Proposal
from autoresearch.search.by_hand import ByHand
from testbed.tuning import SMALL, context


def test_it_names_the_command_instead_of_an_idea() -> None:
    with pytest.raises(ProposerError, match=r"uv run loop\.py try FILE"):
        ByHand().propose(context(SMALL))


def test_it_mends_nothing_and_holds_nothing() -> None:
    by_hand, idea = ByHand(), Proposal((), "an idea", "", "other", "by hand")
    assert by_hand.name == "by hand"
    assert by_hand.repair(context(SMALL), idea, Failure("train", "x")) is None
    by_hand.release()
    by_hand.close()
