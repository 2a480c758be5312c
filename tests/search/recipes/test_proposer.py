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
        match="untried recipes clash with the present file, or repeat what was tried; smear: SEARCH block 1",
    ):
        Recipes().propose(CONTEXT)
    recipes, tuner = Recipes(), Tuner()
    hybrid = Hybrid([recipes, tuner], fallback=tuner, late=recipes)
    assert hybrid._in_order(CONTEXT) == [tuner]


def test_when_all_were_tried_it_says_so() -> None:
    tried = [discarded(n, Set("DEPTH", "6"), title=recipe.title) for n, recipe in enumerate(catalogue())]
    with pytest.raises(ProposerError, match="every recipe was tried"):
        Recipes().propose(replace(HERE, history=tried))


def test_recipes_begin_a_plateau_and_leave_the_big_levers_to_others() -> None:
    recipes, tuner = Recipes(), Tuner()
    hybrid = Hybrid([tuner, recipes], fallback=tuner, late=recipes)
    assert hybrid._in_order(replace(HERE, history=FAILED))[0] is recipes
    lever = replace(HERE, directive=Directive(policy.BIG_LEVER, "", "depth"))
    assert {hybrid._in_order(replace(lever, seed=seed))[0] for seed in range(20)} == {tuner}
    assert Hybrid([recipes], fallback=tuner, late=recipes)._in_order(lever)[0] is recipes  # on its own
