"""Build the search space of a candidate: the axes of its constants, and in training the constraints between them.

If the model's width is DEPTH * ASPECT_RATIO, the width replaces the ratio as an axis, so that a change of depth keeps
the width. `Space.settle` adjusts the axes that depend on a changed one, and `Space.edits` writes a setting as SET
edits. No I/O.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoresearch.candidate import constants, python_constants, syntax
from autoresearch.candidate.pack import is_packed
from autoresearch.records import Brief, Set
from autoresearch.search.tuner import knobs
from autoresearch.search.tuner.axes import Axis, Value, axes_of, on_grid

Values = dict[str, Value]  # by the axis's name

WIDTH = "WIDTH"  # the derived axis: round_up(DEPTH * ASPECT_RATIO, HEAD_DIM)
USED_ONLY_WITH = {"SHORT_WINDOW": ("WINDOW_PATTERN", "S")}  # constant -> a constant and the letter it has to contain

# Constants with one of these words in their name belong to the task, the evaluation or the log, not to the search.
NOT_OURS = re.compile(
    r"(^|_)(SEED|EVAL|VAL|VALIDATION|TEST|VOCAB|SEQ|CONTEXT|BOS|TIME|BUDGET|DEADLINE|PATH|DIR|FILE|NAME|VERSION|LOG"
    r"|PRINT|DATASET|TOKENIZER|PROFILE|CACHE|HASH)(_|$)"
)
HEAD_COUNTS = ("N_HEAD", "N_HEADS", "NUM_HEADS", "HEADS")
KV_COUNTS = ("N_KV_HEAD", "N_KV_HEADS", "NUM_KV_HEADS", "KV_HEADS")


@dataclass(frozen=True)
class Space:
    """Search space of one candidate. Its axes are in the order of the constants."""

    axes: tuple[Axis, ...]
    constants: Mapping[str, Any]
    literals: Mapping[str, str]
    seq_len: int | None = None  # tokens a row
    whole_batches: bool = False  # whether rows * seq_len has to divide the total batch
    source: str = ""  # of a declared task, whose constants do not depend on each other

    def __contains__(self, name: object) -> bool:
        return any(axis.name == name for axis in self.axes)

    def __getitem__(self, name: str) -> Axis:
        return next(axis for axis in self.axes if axis.name == name)

    @property
    def current(self) -> Values:
        """The incumbent's setting, as a new dictionary."""
        return {axis.name: axis.value for axis in self.axes}

    def values(self, other: Mapping[str, Any]) -> Values:
        """Return the axes' values in another candidate's constants, leaving out those of another type or missing."""
        found = ((axis, _value_in(other, axis)) for axis in self.axes)
        return {axis.name: value for axis, value in found if axis.admits(value)}

    def changed(self, values: Values) -> list[str]:
        """Return the names of the axes whose value differs from the incumbent's."""
        return [axis.name for axis in self.axes if values[axis.name] != axis.value]

    def settle(self, values: Values) -> Values | None:
        """Move dependent axes to the nearest values that satisfy the constraints. Return None when none do."""
        values = dict(values)
        return (
            values
            if self.source or all(mend(self, values) for mend in (_mend_heads, _mend_width, _mend_batch))
            else None
        )

    def constants_at(self, values: Values) -> dict[str, Any]:
        """Return all constants of the candidate with the axes set to `values`."""
        new: dict[str, Any] = dict(self.constants)
        for axis in self.axes:
            if axis.index is not None:
                elements = list(new[axis.constant])
                elements[axis.index] = values[axis.name]
                new[axis.constant] = type(new[axis.constant])(elements)
            elif axis.constant == axis.name:
                new[axis.constant] = values[axis.name]
        if _width_is_derived(self):
            new["ASPECT_RATIO"] = _aspect_ratio(new, int(values[WIDTH]))
        return new

    def edits(self, values: Values) -> tuple[Set, ...]:
        """Return the SET edits that turn the incumbent into `values`; empty if they are the incumbent's.

        From "DEPTH = 4" and "BATCH = 2**16", {"DEPTH": 2, "BATCH": 32768} -> Set("DEPTH", "2"), Set("BATCH", "2**15").
        """
        new = self.constants_at(values)
        changed = [name for name, old in self.constants.items() if new[name] != old]
        if self.source:
            return tuple(Set(name, constants.spelled(self.source, name, new[name])) for name in changed)
        return tuple(Set(name, python_constants.spelled(new[name], self.literals[name])) for name in changed)


def infer(source: str, seq_len: int | None = None, brief: Brief | None = None) -> Space:
    """Return the search space of a source. `seq_len` (tokens a row) relates rows to a total batch given in tokens.

    That of a declared task is what its brief says of it, and what its constants suggest (knobs.py).
    """
    if is_packed(source):
        declared = brief or Brief(role="", categories=())
        found = tuple(knobs.axes(source, declared.knobs, declared.categories))
        return Space(found, constants.read(source), constants.literals(source), source=source)
    values, turnable = constants.read(source), _turnable(syntax.parse(source))
    names = [name for name in values if name in turnable and _matters(name, values)]
    axes = [axis for name in names for axis in axes_of(name, values[name])]
    if all(isinstance(values.get(name), int) and values[name] > 0 for name in ("DEPTH", "ASPECT_RATIO", "HEAD_DIM")):
        axes = [_derived_width(axis, values) if axis.name == "ASPECT_RATIO" else axis for axis in axes]
    axes = [_on_head_grid(axis, values) if axis.category == "width" else axis for axis in axes]
    return Space(tuple(axes), values, constants.literals(source), seq_len, _needs_whole_batches(source))


def _turnable(tree: ast.Module) -> set[str]:
    """Return the names that are assigned exactly once and read somewhere."""
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = Counter(node.id for node in uses if isinstance(node.ctx, ast.Store))
    return {node.id for node in uses if isinstance(node.ctx, ast.Load) and stored[node.id] == 1}


def _matters(name: str, values: Mapping[str, Any]) -> bool:
    """Return whether a constant belongs to the search and has an effect at the present values."""
    other, letter = USED_ONLY_WITH.get(name, (name, ""))
    return not NOT_OURS.search(name) and (not letter or letter in str(values.get(other, letter)))


# --- the width, and what has to divide it -----------------------------------------------------------------------------


def _derived_width(axis: Axis, values: Mapping[str, Any]) -> Axis:
    """Turn the axis of ASPECT_RATIO into one of the width."""
    width = _width(values)
    shift = math.log2(width) - math.log2(float(axis.value))
    return replace(axis, name=WIDTH, value=width, low=axis.low + shift, high=axis.high + shift, grid=())


def _on_head_grid(axis: Axis, values: Mapping[str, Any]) -> Axis:
    """Restrict a width to whole heads, or to multiples of 32 when the head dimension is unknown."""
    if not isinstance(axis.value, int):
        return axis
    unit = _unit(values)
    low, high = max(unit, 2.0**axis.low), 2.0**axis.high
    return on_grid(axis, range(math.ceil(low / unit) * unit, int(high) + 1, unit))


def _unit(values: Mapping[str, Any]) -> int:
    """Return the number that a width has to be a multiple of."""
    heads = [v for name, v in values.items() if name == "HEAD_DIM" or name in HEAD_COUNTS]
    return next((v for v in heads if isinstance(v, int) and v > 0), 32)


def _width(values: Mapping[str, Any]) -> int:
    """Return DEPTH * ASPECT_RATIO rounded up to whole heads: DEPTH 4, ASPECT_RATIO 40, HEAD_DIM 64 -> 192."""
    head_dim = int(values["HEAD_DIM"])
    return math.ceil(int(values["DEPTH"]) * int(values["ASPECT_RATIO"]) / head_dim) * head_dim


def _width_is_derived(space: Space) -> bool:
    return any(axis.name == WIDTH and axis.constant != WIDTH for axis in space.axes)


def _aspect_ratio(new: Mapping[str, Any], width: int) -> int:
    """Return the ratio that gives `width` at the new depth; the old one if it still does."""
    return int(new["ASPECT_RATIO"]) if _width(new) == width else max(1, width // int(new["DEPTH"]))


def _value_in(other: Mapping[str, Any], axis: Axis) -> Any:
    """Return the value of `axis` in another candidate's constants, or None."""
    if axis.name == WIDTH and axis.constant != WIDTH:
        sizes = [other.get(name) for name in ("DEPTH", "ASPECT_RATIO", "HEAD_DIM")]
        return _width(other) if all(isinstance(size, int) and size > 0 for size in sizes) else None
    value = other.get(axis.constant)
    if axis.index is None:
        return value
    return value[axis.index] if isinstance(value, tuple | list) and axis.index < len(value) else None


def _mend_heads(space: Space, values: Values) -> bool:
    """Lower the key/value heads until they divide the heads."""
    heads, kv = _first(values, HEAD_COUNTS), _first(values, KV_COUNTS)
    if heads and kv:
        count, most = int(values[heads]), int(values[kv])
        values[kv] = max(n for n in range(1, min(count, most) + 1) if count % n == 0)
    return True


def _mend_width(space: Space, values: Values) -> bool:
    """Round widths up to whole heads, as the model does. Return whether a derived width can be reached."""
    unit = _unit({**space.constants, **values})
    for axis in space.axes:
        if axis.category == "width" and axis.grid and int(values[axis.name]) % unit:
            values[axis.name] = math.ceil(int(values[axis.name]) / unit) * unit
    if not _width_is_derived(space):
        return True
    sizes = {**space.constants, **values}
    return _width({**sizes, "ASPECT_RATIO": _aspect_ratio(sizes, int(values[WIDTH]))}) == values[WIDTH]


def _mend_batch(space: Space, values: Values) -> bool:
    """Halve the rows until rows * seq_len divides the total batch, if the code needs that. Return whether it does."""
    total = next((axis.name for axis in space.axes if axis.category == "batch" and "BATCH" in axis.name), None)
    rows = next((axis.name for axis in space.axes if axis.category == "speed" and "BATCH" in axis.name), None)
    if total is None or rows is None or not space.whole_batches:
        return True
    row = space.seq_len or 1
    if int(space[total].value) % (int(space[rows].value) * row):
        row = 1  # the total is given in rows, not tokens
    while int(values[rows]) > 1 and int(values[total]) % (int(values[rows]) * row):
        values[rows] = int(values[rows]) // 2
    return int(values[total]) % (int(values[rows]) * row) == 0


def _needs_whole_batches(source: str) -> bool:
    """Return whether the code divides a total batch with remainder, as in `TOTAL_BATCH_SIZE % tokens`."""
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mod | ast.FloorDiv)
        and isinstance(node.left, ast.Name)
        and "BATCH" in node.left.id
        for node in ast.walk(syntax.parse(source))
    )


def _first(values: Values, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in values), None)
