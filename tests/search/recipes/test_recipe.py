"""The catalogue: each recipe applies to train_mlx.py, keeps the contract, trains, and computes something else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import pytest

from autoresearch.candidate import edits
from autoresearch.errors import EditError
from autoresearch.records import Set
from autoresearch.search.recipes.recipe import Recipe, catalogue, clash, untried
from autoresearch.tasks.gpt import contract
from testbed.proposer_kit import CONTEXT, discarded
from testbed.toy import ROOT
from testbed.trainer_support import SMALL, SOURCE, TASK, ScriptedRun

pytestmark = pytest.mark.slow

RECIPES = {recipe.name: recipe for recipe in catalogue()}
SCRIPT = SOURCE.read_text()


class SameBatch(ScriptedRun):
    """Run whose batches are all the same, so that the loss falls from the first steps on."""

    def batch(self, seed: int, rows: int, seq_len: int | None) -> tuple[mx.array, mx.array]:
        return super().batch(0, rows, seq_len)


def losses(source: str, steps: int = 12) -> list[float]:
    """Train a small model for a few steps and return the loss of each."""
    module = ModuleType("train_mlx")
    small = edits.apply(source, [Set(name, repr(value)) for name, value in SMALL.items()])
    exec(compile(small, "train_mlx.py", "exec", dont_inherit=True), module.__dict__)
    mx.random.seed(0)
    run = SameBatch(steps)
    module.train(module.build_model(TASK), run)
    return list(run.losses.values())


@cache
def baseline_losses() -> list[float]:
    return losses(SCRIPT)


def test_there_are_enough_and_each_names_its_record() -> None:
    assert len(RECIPES) >= 15
    assert len({recipe.title for recipe in RECIPES.values()}) == len(RECIPES)
    for recipe in RECIPES.values():
        assert recipe.source and recipe.claim and recipe.hypothesis, recipe.name
        assert not recipe.source.startswith("benchmarks/"), recipe.name  # what was measured here is not a public record
    for page in ("README.md", "docs/agents.md"):
        assert f"{len(RECIPES)} " in (ROOT / page).read_text(), page


@pytest.mark.parametrize("name", RECIPES)
def test_each_applies_to_the_baseline_within_the_contract(name: str) -> None:
    changed = edits.apply(SCRIPT, RECIPES[name].edits)
    assert contract.check(changed, SCRIPT) == []


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", RECIPES)
def test_each_trains_and_computes_something_else(name: str) -> None:
    found = losses(edits.apply(SCRIPT, RECIPES[name].edits))
    assert found != baseline_losses()
    assert all(0 < loss < 6 for loss in found) and found[-1] < found[0]


def test_a_recipe_that_clashes_says_with_what() -> None:
    recipe = RECIPES["query-key-gain"]
    assert clash(recipe, SCRIPT) is None
    why = clash(recipe, SCRIPT.replace("y = attend(q, k, v", "y = look(q, k, v"))
    assert why is not None and "it matches nothing" in why and "look(q, k, v" in why


def test_recipes_apply_on_top_of_each_other_where_they_touch_other_lines() -> None:
    first = edits.apply(SCRIPT, RECIPES["momentum-cooldown"].edits)
    again = edits.apply(first, RECIPES["query-key-gain"].edits)
    assert "QK_GAIN = 1.15" in again and "MUON_COOLDOWN = 0.2" in again
    assert clash(RECIPES["trigrams"], edits.apply(SCRIPT, RECIPES["bigrams-in-every-layer"].edits)) is not None


def test_what_was_tried_is_not_offered_again() -> None:
    first, *others = catalogue()
    tried = discarded(3, Set("DEPTH", "6"), title=first.title)
    here = replace(CONTEXT, source=SCRIPT)
    assert untried(here) == [first, *others]
    assert untried(replace(here, history=[tried])) == others


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "10-odd.txt").write_text("TITLE: Odd\nCATEGORY: mlp\nSOURCE: nobody\n\nSET DEPTH = 3\n")
    with pytest.raises(EditError, match=r"10-odd\.txt lacks the line CLAIM"):
        catalogue(tmp_path)
    good = Recipe("odd", "Odd", "", "mlp", (Set("DEPTH", "3"),), "nobody", "nothing")
    (tmp_path / "10-odd.txt").write_text("TITLE: Odd\nCATEGORY: mlp\nSOURCE: nobody\nCLAIM: nothing\n\nSET DEPTH = 3\n")
    catalogue.cache_clear()
    assert catalogue(tmp_path) == (good,)
    catalogue.cache_clear()
