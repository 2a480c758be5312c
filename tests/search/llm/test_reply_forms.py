"""Which form of an answer is asked for, by the task, the turn and the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.records import Directive, Proposal, ReplaceDefinition, SearchReplace, Set, WholeFile
from autoresearch.search.llm import reply_forms
from autoresearch.search.policy import BIG_LEVER
from autoresearch.search.scorecard import FORMATS, Card
from testbed import declared_context as declared
from testbed.proposer_kit import CONTEXT

DEPTH = replace(CONTEXT, directive=Directive(BIG_LEVER, "", "depth"))


def test_what_is_possible() -> None:
    assert reply_forms.possible(CONTEXT, [1], FORMATS) == ("blocks", "file", "set", "menu")
    assert reply_forms.possible(DEPTH, [], FORMATS) == ("set",)
    assert reply_forms.possible(declared.CONTEXT, [1], FORMATS) == ("blocks", "file", "set", "menu")
    assert reply_forms.possible(declared.BARE, [1], FORMATS) == ("blocks", "file", "menu")
    assert reply_forms.possible(declared.BARE, [], ("set", "menu")) == ("blocks",)


@pytest.mark.parametrize(
    ("parameters", "menu", "form"), [(1.5, ["x"], "menu"), (1.5, [], "blocks"), (30.0, ["x"], "blocks")]
)
def test_without_constants_a_small_model_chooses_or_writes_blocks(
    parameters: float, menu: list[str], form: str
) -> None:
    forms = reply_forms.possible(declared.BARE, menu, FORMATS)
    assert reply_forms.first(declared.BARE, Card(), parameters, forms) == form


def test_what_it_falls_back_on() -> None:
    assert reply_forms.simpler(CONTEXT, "blocks", ["x"], FORMATS) == "set"
    assert reply_forms.simpler(CONTEXT, "set", ["x"], FORMATS) == "menu"
    assert reply_forms.simpler(CONTEXT, "set", [], FORMATS) == "set"
    assert reply_forms.simpler(declared.BARE, "blocks", ["x"], FORMATS) == "menu"
    assert reply_forms.simpler(declared.BARE, "file", [], FORMATS) == "blocks"
    assert reply_forms.shortest(CONTEXT, "blocks", []) == "set"
    assert reply_forms.shortest(CONTEXT, "set", []) is None
    assert reply_forms.shortest(declared.BARE, "blocks", ["x"]) == "menu"
    assert reply_forms.shortest(declared.BARE, "blocks", []) is None


@pytest.mark.parametrize(
    ("edit", "form"),
    [
        (Set("LR", "1"), "set"),
        (SearchReplace("a", "b"), "blocks"),
        (WholeFile("x"), "file"),
        (ReplaceDefinition("def", "f", ""), "blocks"),
    ],
)
def test_a_change_is_mended_in_its_form(edit: SearchReplace, form: str) -> None:
    proposal = Proposal((edit,), "t", "", "other", "m")
    assert reply_forms.mending(CONTEXT, proposal, "blocks", 30.0) == form
    assert reply_forms.mending(CONTEXT, proposal, "blocks", 1.5) == "set"
    assert reply_forms.mending(declared.BARE, proposal, "blocks", 1.5) == form
