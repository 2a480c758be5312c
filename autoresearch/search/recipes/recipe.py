"""Read the catalogue of recipes, and apply recipes to a source that has moved on since they were written.

A recipe is a text in the form of a model's reply (TITLE, CATEGORY, HYPOTHESIS, edits), with two lines more: SOURCE
names the public record, and CLAIM the effect that it reports. To add one, add a file to catalogue/; files are offered
in the order of their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from autoresearch.candidate import edits
from autoresearch.errors import EditError
from autoresearch.records import Edit, Trial
from autoresearch.search.llm import replies

CATALOGUE = Path(__file__).parent / "catalogue"
ABOUT = re.compile(r"^(SOURCE|CLAIM): (.+)\n", re.MULTILINE)

REMEMBERED = 256  # answers of `clash`: of every recipe, for the latest versions of the file


@dataclass(frozen=True)
class Recipe:
    """A named change of train_mlx.py, with the public record that it comes from and the effect claimed there."""

    name: str  # e.g. "late-keys"
    title: str
    hypothesis: str
    category: str
    edits: tuple[Edit, ...]
    source: str
    claim: str


@cache
def catalogue(folder: Path = CATALOGUE) -> tuple[Recipe, ...]:
    """Return all recipes, in the order in which they are offered. Raises EditError for a damaged file."""
    return tuple(_read(path) for path in sorted(folder.glob("*.txt")))


def _read(path: Path) -> Recipe:
    text = path.read_text("utf-8")
    about = dict(ABOUT.findall(text))
    parsed = replies.parse(ABOUT.sub("", text), whole_file=False)
    name = path.stem.partition("-")[2]
    if missing := {"SOURCE", "CLAIM"} - about.keys():
        raise EditError(f"{path.name} lacks the line {min(missing)}: ...")
    source, claim = about["SOURCE"], about["CLAIM"]
    return Recipe(name, parsed.title, parsed.hypothesis, parsed.category, parsed.edits, source, claim)


@lru_cache(REMEMBERED)
def clash(recipe: Recipe, source: str) -> str | None:
    """Say why a recipe does not apply to a source, None where it does."""
    try:
        edits.apply(source, recipe.edits)
    except EditError as error:
        return str(error)
    return None


def untried(source: str, history: Sequence[Trial], recipes: Sequence[Recipe] | None = None) -> list[Recipe]:
    """Return the recipes that apply to the source and that no experiment of the night has tried, in their order."""
    tried = {trial.title for trial in history}
    offered = catalogue() if recipes is None else recipes
    return [r for r in offered if r.title not in tried and clash(r, source) is None]
