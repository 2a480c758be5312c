"""The example of a proposer in the room's docstring works as a contributor would copy it."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from autoresearch import search
from autoresearch.candidate import edits
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Failure, Proposer, Set, TaskFacts
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.tuner.tuner import Tuner

SOURCE = "DEPTH = 4\nLR = 0.1\ndef build_model(task): return DEPTH\ndef train(model, run): return LR\n"


def example() -> Proposer:
    """Execute the example in the docstring and return its class."""
    lines = (search.__doc__ or "").splitlines()
    names: dict[str, Any] = {}
    exec(textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line)), names)
    proposer: Proposer = names["Halving"]()
    return proposer


def test_the_example_proposes_what_applies_and_stops() -> None:
    context = Context(SOURCE, 1.0, 0.01, "", TaskFacts(budget_s=10.0), "", turn=1)
    hybrid = Hybrid([example()], fallback=Tuner())
    (idea,) = hybrid.propose(context)
    assert (idea.title, idea.edits, idea.proposer) == ("Halve LR", (Set("LR", "0.05"),), "halving")
    assert "LR = 0.05" in edits.apply(SOURCE, idea.edits)
    assert hybrid.repair(context, idea, Failure("build", "no")) is None
    hybrid.release()
    hybrid.close()


def test_the_example_says_when_it_has_no_idea() -> None:
    context = Context("DEPTH = 4\n", 1.0, 0.01, "", TaskFacts(), "")
    with pytest.raises(ProposerError, match="every constant has been halved"):
        example().propose(context)
