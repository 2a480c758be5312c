"""Write the title, hypothesis and category of the tuner's proposals, and find the category of any proposer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autoresearch.candidate import constants
from autoresearch.candidate.pack import is_packed
from autoresearch.candidate.versions import version
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.records import TITLE_CHARS, Proposal
from autoresearch.search.tuner.axes import Axis, Value, axes_of, is_power_of_two
from autoresearch.search.tuner.space import WIDTH, Space, Values, infer

Why = Literal["lever", "hint", "step", "tpe", "combine", "without"]

# (category, upwards) -> what such a change may do
HYPOTHESES: Mapping[tuple[str, bool], str] = {
    ("depth", False): "Fewer layers make a step cheaper: more steps in the budget may be worth more than depth.",
    ("depth", True): "More layers learn more from each step, if enough steps are left in the budget.",
    ("batch", False): "A smaller total batch gives more updates in the same time, as long as they are not too noisy.",
    ("batch", True): "A larger total batch gives less noisy updates and may use the machine better.",
    ("width", False): "A narrower model makes a step cheaper: more steps in the budget may be worth more than width.",
    ("width", True): "A wider model learns more from each step, if enough steps are left in the budget.",
    ("learning_rate", True): "In so few steps a higher learning rate may get further.",
    ("learning_rate", False): "The learning rate may be too high to settle: a lower one may end lower.",
    ("schedule", True): "More of the budget in this part of the schedule may end at a lower loss.",
    ("schedule", False): "Less of the budget in this part of the schedule leaves more for the rest.",
    ("regularisation", False): "In so short a training there is little to regularise.",
    ("regularisation", True): "More regularisation may keep the matrices in better condition.",
}


@dataclass(frozen=True, slots=True)
class Move:
    """New setting of all axes, and how it was found."""

    values: Values
    why: Why
    category: str | None = None  # None: the category of the constant that moves furthest


def describe(space: Space, move: Move, proposer: str, usage: Mapping[str, float], metric: Metric = VAL_BPB) -> Proposal:
    """Return a move as a proposal: Proposal((Set("DEPTH", "2"),), "DEPTH 4 -> 2", "Fewer layers ...", "depth", ...)."""
    axes = [space[name] for name in space.changed(move.values)]
    first = _furthest(axes, move.values)
    category = move.category or first.category
    hypothesis = _hypothesis(move, axes, first, metric if space.source else None)
    return Proposal(space.edits(move.values), _title(axes, move.values), hypothesis, category, proposer, usage)


def category_of_change(before: str, after: str) -> str | None:
    """Return the category of the constant that moves furthest between two sources; None if their code differs, too.

    The names of a declared task's constants say nothing of categories, so that its changes have None.

    A ratio that only keeps the width at another depth does not count: half the layers at the same width is depth.
    """
    old, new = version(before), version(after)
    if old.structure != new.structure or is_packed(before):
        return None
    changed = new.changed_from(old)
    space = infer(before)
    if WIDTH in space and len(changed) > 1 and space.values(new.constants).get(WIDTH) == space[WIDTH].value:
        changed.pop(space[WIDTH].constant, None)
    moved = [axis for name in changed for axis in axes_of(name, old.constants[name])]
    values = {axis.name: new.constants[axis.constant] for axis in moved if axis.index is None}
    axes = [axis for axis in moved if axis.admits(values.get(axis.name))]
    return _furthest(axes, values).category if axes else None


def title_of_change(before: str, after: str) -> str | None:
    """Return "DEPTH 4 -> 2, ASPECT_RATIO 64 -> 128" for sources that differ in constants only, else None."""
    old, new = constants.literals(before), constants.literals(after)
    changed = constants.changed(before, after)
    if version(before).structure != version(after).structure or not changed:
        return None
    return _listed([f"{name} {old.get(name)} -> {new.get(name)}" for name in changed])


def _furthest(axes: list[Axis], values: Values) -> Axis:
    return max(axes, key=lambda axis: _distance(axis, values[axis.name]))


def _distance(axis: Axis, value: Value) -> float:
    """Return how far `value` is from the incumbent's, in coarse steps; another choice is one step."""
    return 1.0 if axis.scale == "choice" else abs(axis.coordinate(value) - axis.coordinate(axis.value)) / axis.step


def _title(axes: list[Axis], values: Values) -> str:
    """List as many of the changes as fit: "MATRIX_LR 0.04 -> 0.06, DEPTH 4 -> 3 and 2 more"."""
    return _listed([f"{axis.name} {_readable(axis.value)} -> {_readable(values[axis.name])}" for axis in axes])


def _listed(parts: list[str]) -> str:
    """Join as many of the parts as fit in a title."""
    for shown in range(len(parts), 0, -1):
        rest = f" and {len(parts) - shown} more" if shown < len(parts) else ""
        title = ", ".join(parts[:shown]) + rest
        if len(title) <= TITLE_CHARS:
            return title
    return parts[0][:TITLE_CHARS]


def _readable(value: Value) -> str:
    """Format a value: 32768 -> "2**15", 0.0400 -> "0.04", "SSL" -> "SSL"."""
    if type(value) is int and value >= 1024 and is_power_of_two(value):
        return f"2**{value.bit_length() - 1}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _hypothesis(move: Move, axes: list[Axis], first: Axis, metric: Metric | None) -> str:
    """Return the reason for a move, in training's words or in those of a declared task's `metric`."""
    match move.why:
        case "without":
            return f"{first.name} may not be worth having in so short a training: this switches it off."
        case "hint":
            return "This gained on other machines, where it was measured; it may be otherwise here."
        case "combine":
            return "Two changes that each came close to the incumbent may together be clear of the noise."
        case "tpe":
            return f"The better ones of the settings measured so far point this way: {_directions(axes, move.values)}."
    if metric is not None:
        return f"{metric.name} may be {metric.direction} with another value of {first.name}."
    upwards = first.scale != "choice" and float(move.values[first.name]) > float(first.value)
    default = f"{first.name} may be off its best value for this machine's budget."
    return HYPOTHESES.get((first.category, upwards), default)


def _directions(axes: list[Axis], values: Values) -> str:
    """Describe the three largest moves: "higher MATRIX_LR, lower WEIGHT_DECAY"."""
    largest = sorted(axes, key=lambda axis: -_distance(axis, values[axis.name]))[:3]
    return ", ".join(
        f"{axis.name} {values[axis.name]}"
        if axis.scale == "choice"
        else f"{'higher' if float(values[axis.name]) > float(axis.value) else 'lower'} {axis.name}"
        for axis in largest
    )
