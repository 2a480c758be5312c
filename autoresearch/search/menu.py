"""List the single changes that a night has not tried, so that a small model only has to choose. No I/O.

An entry is any change with a title: a step of one constant along the tuner's axes, or a recipe. Entries leave out the
present value and what was tried, so that every choice is a new experiment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoresearch.candidate.versions import Version, version
from autoresearch.records import Context, Edit, Proposal, Set
from autoresearch.search import policy
from autoresearch.search.recipes.recipe import untried
from autoresearch.search.tuner.axes import Axis, Value
from autoresearch.search.tuner.space import Space, infer

STEPS = (1.0, 0.5, 2.0)  # coarse steps of an axis to both sides, the most useful first
FEWEST = 2  # entries of the category that a turn asks for; with fewer, all entries are listed
MOST = 40  # entries of a menu, some 500 tokens; more are drawn from anew in each turn


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A change that can be chosen."""

    title: str  # "DEPTH = 2, ASPECT_RATIO = 128", or a recipe's title; unique in its menu
    category: str  # one of the task's
    edits: tuple[Edit, ...]
    why: str = ""  # the reason that comes with it; empty: who chooses it gives one
    rank: int = 0  # the largest are left out of a menu that is too long


def entries(context: Context, drafted: Sequence[Proposal] = ()) -> list[MenuEntry]:
    """Return the changes that are new to the night and to the turn's proposals `drafted`, in the order of the file.

    Where the turn asks for a category, only its changes are returned, if there are FEWEST or more. Of more than MOST
    changes the least ranks are returned, and of an equal rank others in every turn.
    """
    taken = {proposal.edits for proposal in drafted} | {(title,) for title in (p.title for p in drafted)}
    found = [e for e in (*_steps(context), *_recipes(context)) if e.edits not in taken and (e.title,) not in taken]
    unique = list({entry.title: entry for entry in found}.values())
    wanted = context.directive.category if context.directive else None
    asked = [entry for entry in unique if entry.category == wanted]
    listed = asked if len(asked) >= FEWEST else unique
    rng = random.Random(f"{context.seed} {context.turn}")
    first = sorted(listed, key=lambda entry: (entry.rank, rng.random()))[:MOST]
    return [entry for entry in listed if entry in first]


def _recipes(context: Context) -> Iterator[MenuEntry]:
    for recipe in untried(context):
        yield MenuEntry(recipe.title, recipe.category, recipe.edits, recipe.why)


def _steps(context: Context) -> Iterator[MenuEntry]:
    """Yield the new single steps of each constant that matters."""
    space, now = infer(context.source, context.task.seq_len, context.brief), version(context.source)
    for axis in [axis for axis in space.axes if not axis.minor]:
        for value, rank in _values(axis).items():
            settled = space.settle({**space.current, axis.name: value})
            change = space.edits(settled) if settled is not None else ()
            if settled is not None and change and _is_new(space, settled, now, context):
                yield MenuEntry(_title(change), axis.category, change, rank=rank)


def _values(axis: Axis) -> dict[Value, int]:
    """Return the values to offer for an axis with their ranks: its other choices, or steps to both sides, in order."""
    if axis.scale == "choice":
        return {value: 0 for value in axis.grid if value != axis.value}
    moved = [(axis.moved(axis.value, sign * step), rank) for rank, step in enumerate(STEPS) for sign in (-1, 1)]
    ranks: dict[Value, int] = {}
    for value, rank in [*moved, (axis.neutral, 0)]:
        if value is not None and value != axis.value:
            ranks.setdefault(value, rank)
    return dict(sorted(ranks.items(), key=lambda item: float(item[0])))


def _is_new(space: Space, settled: dict[str, Value], now: Version, context: Context) -> bool:
    new = Version(now.structure, space.constants_at(settled))
    return policy.repeat_of_version(new, now, context.history) is None


def _title(change: Sequence[Set]) -> str:
    return ", ".join(f"{edit.name} = {edit.literal}" for edit in change)
