"""Propose recipes: changes that public records found to pay elsewhere, or a task's own ideas, not tried this night."""

from __future__ import annotations

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Proposal
from autoresearch.search.proposer import BaseProposer
from autoresearch.search.recipes.recipe import Recipe, clash, offered, untried


class Recipes(BaseProposer):
    """Proposer of recipes, each once a night; those of the category that a turn asks for come first."""

    name = "recipes"

    def has_ideas(self, context: Context) -> bool:
        """Return whether a recipe applies to the context's source and has not been tried."""
        return bool(untried(context))

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return up to n recipes. Raises ProposerError (`exhausted`) that says with what the untried ones clash."""
        found = untried(context)
        if not found:
            raise ProposerError(_why(context), reason="exhausted")
        wanted = context.directive.category if context.directive else None
        found.sort(key=lambda recipe: recipe.category != wanted)  # stable: otherwise in the catalogue's order
        return [proposal_of(recipe, self.name) for recipe in found[:n]]


def proposal_of(recipe: Recipe, proposer: str) -> Proposal:
    """Return the proposal that makes a recipe's change, with its source and claim in the hypothesis."""
    source = f" Source: {recipe.source}" if recipe.source else ""
    claim = f"{';' if source else ' It is'} claimed{' there' if source else ''}: {recipe.claim}" if recipe.claim else ""
    why = f"{recipe.hypothesis}{source}{claim}{'.' if source or claim else ''}".strip()
    return Proposal(recipe.edits, recipe.title, why, recipe.category, proposer)


def _why(context: Context) -> str:
    """Say why no recipe is left: all were tried, or what the first of the others clashes with."""
    tried = {trial.title for trial in context.history}
    left = [recipe for recipe in offered(context) if recipe.title not in tried]
    if not left:
        return "every recipe was tried"
    why = clash(left[0], context.source) or ""
    return f"{len(left)} untried recipes clash with the present file; {left[0].name}: {why.splitlines()[0]}"
