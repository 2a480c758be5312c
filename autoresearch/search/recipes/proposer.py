"""Propose ready-made changes: recipes, which public records found to pay elsewhere, or a declared task's own ideas."""

from __future__ import annotations

from autoresearch.errors import ProposerError
from autoresearch.formats import counted
from autoresearch.records import Context, Proposal
from autoresearch.search.proposer import BaseProposer
from autoresearch.search.recipes.recipe import Recipe, offered, unfit, untried


class Recipes(BaseProposer):
    """Proposer of recipes, each once a night; those of the category that a turn asks for come first."""

    name = "recipes"
    one = "recipe"

    def has_ideas(self, context: Context) -> bool:
        """Return whether a recipe applies to the context's source and has not been tried."""
        return bool(untried(context))

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return up to n recipes. Raises ProposerError (`exhausted`) that says with what the untried ones clash."""
        found = untried(context)
        if not found:
            raise ProposerError(_why(context, self.one), reason="exhausted")
        wanted = context.directive.category if context.directive else None
        found.sort(key=lambda recipe: recipe.category != wanted)  # stable: otherwise in the catalogue's order
        return [proposal_of(recipe, self.name) for recipe in found[:n]]


class Ideas(Recipes):
    """Proposer of what a declared task has in ideas/, as Recipes does with the catalogue."""

    name = "ideas"
    one = "idea"


def proposal_of(recipe: Recipe, proposer: str) -> Proposal:
    """Return the proposal that makes a recipe's change, with its source and claim in the hypothesis."""
    return Proposal(recipe.edits, recipe.title, recipe.why, recipe.category, proposer)


def _why(context: Context, one: str) -> str:
    """Say why no recipe is left, each called `one`: all were tried, or what the first of the others clashes with."""
    tried = {trial.title for trial in context.history}
    left = [recipe for recipe in offered(context) if recipe.title not in tried]
    if not left:
        return f"every {one} was tried" if tried else f"there is no {one}"
    why = unfit(left[0], context) or ""
    verb = "clashes with the present file, or repeats" if len(left) == 1 else "clash with the present file, or repeat"
    return f"{counted(len(left), f'untried {one}')} {verb} what was tried; {left[0].name}: {why.splitlines()[0]}"
