"""Read recipes, ready-made changes, and apply them to a source that has moved on since they were written.

A recipe is a text in the form of a model's reply:

    TITLE: Compare dates with a range
    CATEGORY: query
    HYPOTHESIS: strftime is called for each row; two comparisons of text are cheaper.
    SOURCE: SQLite documentation, "Query Planning"
    CLAIM: a range on a bare column can use an index

    ### query.sql
    <<<<<<< SEARCH
    WHERE strftime('%Y-%m', o.placed) = '2026-03'
    =======
    WHERE o.placed >= '2026-03-01' AND o.placed < '2026-04-01'
    >>>>>>> REPLACE

SOURCE names the public record, and CLAIM the effect that it reports. Training's recipes are the files of catalogue/,
which edit train_mlx.py and name no path. A declared task's are the files of its folder ideas/, in which SOURCE and
CLAIM may be missing. Both are offered in the order of their files' names, "10-smear.txt" first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from autoresearch.candidate import edits
from autoresearch.errors import EditError
from autoresearch.records import CATEGORIES, Context, Edit
from autoresearch.search import policy
from autoresearch.search.llm import replies

CATALOGUE = Path(__file__).parent / "catalogue"
ABOUT = re.compile(r"^(SOURCE|CLAIM): (.+)\n", re.MULTILINE)

REMEMBERED = 256  # what recipes make: every one, for the latest versions of the file


@dataclass(frozen=True)
class Recipe:
    """A named change, with the public record that it comes from and the effect claimed there."""

    name: str  # e.g. "late-keys"
    title: str
    hypothesis: str
    category: str
    edits: tuple[Edit, ...]
    source: str  # empty where a declared task names none
    claim: str

    @property
    def why(self) -> str:
        """The hypothesis, with the source and the effect that it claims."""
        told = {"Source": self.source, "Claim": self.claim}
        return " ".join([self.hypothesis, *(f"{name}: {text}." for name, text in told.items() if text)]).strip()


@cache
def catalogue(folder: Path = CATALOGUE) -> tuple[Recipe, ...]:
    """Return all recipes, in the order in which they are offered. Raises EditError for a damaged file."""
    return tuple(_read(path) for path in sorted(folder.glob("[!.]*.txt")))


def _read(path: Path) -> Recipe:
    recipe = _parsed(path.stem, path.read_text("utf-8"), (), CATEGORIES)
    if missing := [name for name in ("SOURCE", "CLAIM") if not getattr(recipe, name.lower())]:
        raise EditError(f"{path.name} lacks the line {missing[0]}: ...")
    return recipe


def offered(context: Context) -> tuple[Recipe, ...]:
    """Return the recipes for a context: the catalogue, or the ideas of a declared task that can be read."""
    if context.brief is None:
        return catalogue()
    return ideas(tuple(context.brief.ideas.items()), context.task.files, context.brief.categories)[0]


@lru_cache(4)
def ideas(
    texts: tuple[tuple[str, str], ...], files: tuple[str, ...], categories: tuple[str, ...]
) -> tuple[tuple[Recipe, ...], tuple[str, ...]]:
    """Return a declared task's ideas, given by name and text, and a sentence for each that cannot be read."""
    found, problems = [], []
    for name, text in texts:
        try:
            found.append(_parsed(name, text, files, categories))
        except EditError as error:
            problems.append(f"ideas/{name}.txt: {error}")
    return tuple(found), tuple(problems)


def _parsed(name: str, text: str, files: Sequence[str], categories: Sequence[str]) -> Recipe:
    about = dict(ABOUT.findall(text))
    parsed = replies.parse(ABOUT.sub("", text), whole_file=False, files=files, categories=categories)
    source, claim = about.get("SOURCE", ""), about.get("CLAIM", "")
    short = re.sub(r"^\d+-", "", name)
    return Recipe(short, parsed.title, parsed.hypothesis, parsed.category, parsed.edits, source, claim)


def clash(recipe: Recipe, source: str) -> str | None:
    """Say why a recipe does not apply to a source, None where it does."""
    return _applied(recipe, source)[1]


def unfit(recipe: Recipe, context: Context) -> str | None:
    """Say why a recipe is nothing new for a context: it clashes, or makes what was measured; None where it is new."""
    changed, why = _applied(recipe, context.source)
    if why is None and (trial := policy.repeat_of(changed, context.source, context.history)) is not None:
        return policy.repeat_sentence(changed, trial)
    return why


def untried(context: Context) -> list[Recipe]:
    """Return the recipes that are new for the context, in order: none that an experiment of the night has tried."""
    tried = {trial.title for trial in context.history}
    return [r for r in offered(context) if r.title not in tried and unfit(r, context) is None]


@lru_cache(REMEMBERED)
def _applied(recipe: Recipe, source: str) -> tuple[str, str | None]:
    """Return the source that a recipe makes, or why it does not apply."""
    try:
        return edits.apply(source, recipe.edits), None
    except EditError as error:
        return "", str(error)
