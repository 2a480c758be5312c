"""Recipes as proposals: each once a night, the wanted category first, and asked first on plateaus."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.candidate import edits
from autoresearch.errors import ProposerError
from autoresearch.records import Directive, Set
from autoresearch.search import policy
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.recipes.proposer import Recipes
from autoresearch.search.recipes.recipe import catalogue
from autoresearch.search.tuner.tuner import Tuner
from testbed.proposer_kit import CONTEXT, discarded
from testbed.trainer_support import SOURCE

pytestmark = pytest.mark.slow

HERE = replace(CONTEXT, source=SOURCE.read_text())
FAILED = [discarded(n, Set("DEPTH", "6"), proposer="tuner") for n in range(1, policy.PLATEAU + 1)]


def test_a_recipe_is_proposed_with_its_record() -> None:
    (proposal,) = Recipes().propose(HERE)
    first = catalogue()[0]
    assert proposal.title == first.title and proposal.proposer == "recipes" and proposal.category == first.category
    assert f"Source: {first.source}. Claim: {first.claim}." in proposal.hypothesis
    assert edits.apply(HERE.source, proposal.edits) != HERE.source


def test_the_category_of_the_turn_comes_first() -> None:
    wanted = replace(HERE, directive=Directive("new category", "", "mlp"))
    assert [p.category for p in Recipes().propose(wanted, 2)] == ["mlp", catalogue()[0].category]


def test_where_none_applies_it_says_why_and_is_not_asked() -> None:
    assert not Recipes().has_ideas(CONTEXT)
    with pytest.raises(
        ProposerError,
        match="untried recipes clash with the present file, or repeat what was tried; late-keys: SEARCH block 1",
    ):
        Recipes().propose(CONTEXT)
    recipes, tuner = Recipes(), Tuner()
    hybrid = Hybrid([recipes, tuner], fallback=tuner, on_plateau=recipes)
    assert hybrid._in_order(CONTEXT) == [tuner]


def test_when_all_were_tried_it_says_so() -> None:
    tried = [discarded(n, Set("DEPTH", "6"), title=recipe.title) for n, recipe in enumerate(catalogue())]
    with pytest.raises(ProposerError, match="every recipe was tried"):
        Recipes().propose(replace(HERE, history=tried))


def test_on_a_plateau_recipes_have_every_second_turn() -> None:
    recipes, tuner = Recipes(), Tuner()
    hybrid = Hybrid([tuner, recipes], fallback=tuner, on_plateau=recipes)
    assert hybrid._in_order(replace(HERE, history=FAILED))[0] is recipes
    after = replace(HERE, history=[*FAILED, discarded(9, Set("DEPTH", "5"), proposer="recipes")])
    assert hybrid._plateau_turn(after.history) is False
    kept = replace(HERE, history=[*FAILED, discarded(9, Set("DEPTH", "5"), verdict="keep")])
    assert hybrid._plateau_turn(kept.history) is False
