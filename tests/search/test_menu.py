"""The menu of new changes: every entry applies, is new, and is of the category that the turn asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.records import Directive, Proposal, Set
from autoresearch.search import gate, menu
from autoresearch.search.recipes.recipe import catalogue
from testbed import proposer_kit
from testbed.toy import ROOT
from testbed.trials import trial
from testbed.tuning import SMALL

CONTEXT = replace(proposer_kit.CONTEXT, source=SMALL)
TRIED = trial(1, [Set("MATRIX_LR", "0.02")], parent=SMALL)
TITLES = [entry.title for entry in menu.entries(CONTEXT)]


@pytest.mark.slow
def test_a_recipe_brings_its_reason_with_its_source() -> None:
    known, script = {recipe.title: recipe for recipe in catalogue()}, (ROOT / "train_mlx.py").read_text()
    entry = next(e for e in menu.entries(replace(CONTEXT, source=script)) if e.title in known)
    assert entry.why == known[entry.title].why and known[entry.title].source in entry.why


def test_every_entry_is_a_new_experiment() -> None:
    found = menu.entries(replace(CONTEXT, history=[TRIED]))
    assert len(found) > 10
    assert len({gate.changed(CONTEXT, entry.edits) for entry in found}) == len(found)
    assert "MATRIX_LR = 0.08" in [entry.title for entry in found]


def test_it_leaves_out_the_present_value_what_was_tried_and_what_the_turn_has_proposed() -> None:
    assert "MATRIX_LR = 0.02" in TITLES and "MATRIX_LR = 0.08" in TITLES and "MATRIX_LR = 0.04" not in TITLES
    tried = replace(CONTEXT, history=[TRIED])
    drafted = Proposal((Set("MATRIX_LR", "0.08"),), "Raise it", "", "learning_rate", "m")
    left = [entry.title for entry in menu.entries(tried, [drafted])]
    assert "MATRIX_LR = 0.02" not in left and "MATRIX_LR = 0.08" not in left


def test_it_holds_the_category_that_the_turn_asks_for_if_there_are_enough() -> None:
    def categories(category: str) -> set[str]:
        directive = Directive("big lever", "", category)
        return {entry.category for entry in menu.entries(replace(CONTEXT, directive=directive))}

    assert categories("learning_rate") == {"learning_rate"}
    assert len(categories("normalisation")) > 1


@pytest.mark.slow
def test_a_long_menu_keeps_the_coarse_steps() -> None:
    source = "".join(f"A{i}_LR = 0.1\n" for i in range(40)) + "x = [" + ", ".join(f"A{i}_LR" for i in range(40)) + "]\n"
    source += "def build_model(task): ...\ndef train(model, run): ...\n"
    found = menu.entries(replace(CONTEXT, source=source))
    assert len(found) == menu.MOST
    assert not {entry.title for entry in found} & {f"A{i}_LR = 0.4" for i in range(40)}
    other = menu.entries(replace(CONTEXT, source=source, turn=CONTEXT.turn + 1))
    assert {entry.title for entry in other} != {entry.title for entry in found}
