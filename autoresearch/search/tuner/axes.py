"""Infer the searched axes of a constant of training, with their ranges, from its name and value. No I/O.

Each number is searched in a coordinate that suits it: log2 for rates and sizes, log2 of 1 - beta for averaging factors,
the plain value for fractions. The words in the name decide which (RULES); a name with no known word is searched up to a
factor of two up and down. Declared tasks have knobs.py instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from autoresearch.candidate.declared_values import searchable

Value = bool | int | float | str
AxisScale = Literal["log", "linear", "complement", "choice"]

LONGEST_TUPLE = 4  # longer ones are tables of coefficients, not settings
CHOICES: Mapping[str, tuple[str, ...]] = {"PATTERN": ("L", "SL", "SSL", "SSSL"), "DTYPE": ("bfloat16", "float32")}


@dataclass(frozen=True, slots=True)
class Axis:
    """A constant, or an element of a tuple, that the tuner may change. `low`, `high` and `step` are coordinates."""

    name: str  # "MATRIX_LR", "ADAM_BETAS[1]", "WIDTH"
    constant: str
    value: Value  # the incumbent's
    category: str  # one of records.CATEGORIES
    scale: AxisScale
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0  # one coarse move
    grid: tuple[Value, ...] = ()  # the allowed values, in order; empty: every number from low to high
    index: int | None = None  # of the element in a tuple
    neutral: Value | None = None  # the value that switches the mechanism off
    minor: bool = False  # seldom matters, or is fitted to the machine before the night
    declared: bool = False  # its range is a task's own: no value may lie outside
    decimals: int = 2  # of a value on a linear scale

    @property
    def key(self) -> str:
        """The name with scale and type, which together identify a distribution of Optuna."""
        kind = ",".join(map(str, self.grid)) if self.scale == "choice" else type(self.value).__name__
        return f"{self.name}:{self.scale}:{kind}"

    def coordinate(self, value: Value) -> float:
        """Return a number's coordinate, clipped to low..high: 8 -> 3.0 on a log scale, 0.875 -> -3.0 as complement."""
        number = float(value)
        if self.scale == "log":
            place = math.log2(number) if number > 0 else self.low
        elif self.scale == "complement":
            place = math.log2(1 - number) if number < 1 else self.low
        else:
            place = number
        return min(max(place, self.low), self.high)

    def holds(self, value: Value) -> bool:
        """Return whether a value lies in the range: 0 is on no log scale, and 1 on no scale of complements."""
        if self.scale == "choice":
            return value in self.grid
        number = float(value)
        if (self.scale == "log" and number <= 0) or (self.scale == "complement" and number >= 1):
            return False
        return replace(self, low=-math.inf, high=math.inf).coordinate(value) == self.coordinate(value)

    def at(self, coordinate: float) -> Value:
        """Return the allowed value nearest to a coordinate, to two significant digits: on a log scale -4.6 -> 0.041."""
        place = min(max(coordinate, self.low), self.high)
        if self.grid:
            return min(self.grid, key=lambda value: abs(self.coordinate(value) - place))
        if self.scale == "linear":
            number = round(place, self.decimals)
            return min(max(number, self.low), self.high) if self.declared else number
        number = float(f"{2.0**place:.2g}")
        if self.declared:
            return min(max(number, float(f"{2.0**self.low:.12g}")), float(f"{2.0**self.high:.12g}"))
        return round(1 - number, 10) if self.scale == "complement" else number

    def moved(self, value: Value, steps: float) -> Value | None:
        """Move `value` by coarse steps, on a grid by at least one place. Return None where the range ends."""
        upward = -1 if self.scale == "complement" else 1
        target = self.at(self.coordinate(value) + upward * steps * self.step)
        if target == value and value in self.grid:
            place = self.grid.index(value) + (1 if steps > 0 else -1)
            return self.grid[place] if 0 <= place < len(self.grid) else None
        return target if (float(target) - float(value)) * steps > 0 else None

    def admits(self, value: Any) -> bool:
        """Return whether another candidate's value of the constant has a type that fits this axis."""
        if self.scale == "choice":
            return type(value) is type(self.value) and value in self.grid
        return isinstance(value, int | float) and not isinstance(value, bool) and searchable(value)


@dataclass(frozen=True, slots=True)
class RangeRule:
    """Range of the constants whose name contains one of `words`. The first rule that fits is used."""

    words: str  # separated by blanks
    category: str
    kind: Literal["factor", "octaves", "complement", "fraction", "count"]
    span: float  # log2 of the largest factor; the largest value of a fraction or a count
    step: float
    up: float | None = None  # log2 of the largest factor upwards, if it differs from `span`
    minor: bool = False


RULES = (
    RangeRule("DEVICE MICRO", "speed", "octaves", 3, 1, minor=True),
    RangeRule("CHUNK BLOCK STACK COMPILE", "speed", "octaves", 2, 1, minor=True),
    RangeRule("DTYPE PRECISION", "precision", "factor", 1, 0.5, minor=True),
    RangeRule("EPS EPSILON", "optimizer", "factor", 10, 3.4, minor=True),
    RangeRule("BATCH", "batch", "octaves", 4, 1, up=2),
    RangeRule("PIECES", "batch", "octaves", 2, 1),
    RangeRule("NS NEWTON POLAR", "optimizer", "count", 5, 1),
    RangeRule("STEPS ITERS", "schedule", "factor", 2, 1, minor=True),
    RangeRule("WARMUP", "schedule", "fraction", 0.5, 0.1),
    RangeRule("WARMDOWN COOLDOWN", "schedule", "fraction", 1.0, 0.2),
    RangeRule("FINAL FRAC FRACTION", "schedule", "fraction", 1.0, 0.1),
    RangeRule("DROPOUT PROB", "regularisation", "fraction", 0.5, 0.1),
    RangeRule("BETA BETAS BETA1 BETA2 MOMENTUM", "optimizer", "complement", 3, 1),
    RangeRule("DECAY WD", "regularisation", "factor", 3, 1),
    RangeRule("INIT STD LAMBDA LAMBDAS", "initialisation", "factor", 3, 1),
    RangeRule("LR", "learning_rate", "factor", 3, 1),
    RangeRule("DEPTH LAYER LAYERS", "depth", "factor", 4, 1, up=1.6),
    RangeRule("HEAD HEADS KV", "attention", "octaves", 2, 1, up=1),
    RangeRule("ASPECT WIDTH EMBD DIM HIDDEN", "width", "factor", 2, 0.6, up=1.6),
    RangeRule("MLP FFN EXPANSION", "mlp", "factor", 1, 0.6),
    RangeRule("BIGRAM BIGRAMS NGRAM", "embedding", "octaves", 3, 1),
    RangeRule("EMBED EMBEDS EMBEDDING", "embedding", "factor", 1, 0.5),
    RangeRule("ROPE THETA BASE", "attention", "factor", 4, 1.7, minor=True),
    RangeRule("ATTN WINDOW PATTERN", "attention", "factor", 1, 0.5),
    RangeRule("RATIO", "other", "fraction", 1.0, 0.2),
    RangeRule("MUON ADAM", "optimizer", "factor", 1, 0.5),
    RangeRule("NORM", "normalisation", "factor", 1, 0.5, minor=True),
)
UNKNOWN = RangeRule("", "other", "factor", 1, 0.5, minor=True)


# --- from a constant to its axes --------------------------------------------------------------------------------------


def axes_of(name: str, value: Any) -> Iterator[Axis]:
    """Yield the axes of a constant: one for a number or choice, one per element of a short tuple, none for the rest.

    >>> [axis.name for axis in axes_of("ADAM_BETAS", (0.8, 0.95))]
    ['ADAM_BETAS[0]', 'ADAM_BETAS[1]']
    """
    words = name.split("_")
    rule = next((rule for rule in RULES if not set(rule.words.split()).isdisjoint(words)), UNKNOWN)
    axis = Axis(name, name, value, rule.category, "choice", minor=rule.minor)
    if isinstance(value, bool):
        yield replace(axis, grid=(False, True))
    elif isinstance(value, str):
        options = next((options for word, options in CHOICES.items() if word in words), ())
        if options:
            yield replace(axis, grid=tuple(dict.fromkeys((*options, value))))
    elif isinstance(value, tuple | list):
        if 0 < len(value) <= LONGEST_TUPLE and all(isinstance(element, float) for element in value):
            parts = [replace(axis, name=f"{name}[{i}]", value=element, index=i) for i, element in enumerate(value)]
            yield from (found for part in parts if (found := _number(part, rule)))
    elif isinstance(value, int | float) and (found := _number(axis, rule)):
        yield found


def _number(axis: Axis, rule: RangeRule) -> Axis | None:
    """Return the axis of a number, or None when its name and value suggest no sensible range."""
    value, whole = float(axis.value), isinstance(axis.value, int)
    axis = replace(axis, step=rule.step)
    if rule.kind == "complement" and 0.5 <= value < 1:
        place = math.log2(1 - value)
        low, high = max(place - rule.span, math.log2(1e-4)), min(place + rule.span, -1.0)
        return replace(axis, scale="complement", low=min(low, place), high=high)
    if rule.kind == "complement" and 0 <= value < 0.5 and not whole:
        return replace(axis, scale="linear", high=0.9, step=0.1)
    if rule.kind == "fraction" and 0 <= value <= 1 and not whole:
        neutral = 0.0 if rule.step <= 0.1 else None
        return replace(axis, scale="linear", high=max(rule.span, value), neutral=neutral)
    if rule.category == "regularisation" and value == 0 and not whole:
        return replace(axis, scale="linear", high=0.4, step=0.1)
    if value <= 0:
        return None
    if rule.kind == "count" and whole:
        return on_grid(replace(axis, scale="linear"), range(1, max(int(rule.span), int(value)) + 1))
    span = UNKNOWN.span if rule.kind == "fraction" else rule.span
    neutral = 0.0 if rule.category == "regularisation" else None
    place = math.log2(value)
    axis = replace(axis, scale="log", low=place - span, high=place + (rule.up or span), neutral=neutral)
    return on_grid(axis, _octaves(axis) if rule.kind == "octaves" else whole_numbers(axis)) if whole else axis


def is_power_of_two(value: int) -> bool:
    """Return whether `value` is 1, 2, 4, 8, ..."""
    return value > 0 and value & (value - 1) == 0


def on_grid(axis: Axis, grid: Iterable[int]) -> Axis:
    """Restrict an axis to the values of `grid` and its own value."""
    values = sorted({*grid, int(axis.value)})
    wide = replace(axis, low=-math.inf, high=math.inf)
    return replace(axis, grid=tuple(values), low=wide.coordinate(values[0]), high=wide.coordinate(values[-1]))


def _octaves(axis: Axis) -> Iterator[int]:
    """Yield the value times powers of two within the range: for 24 in 3..96, the numbers 3, 6, 12, 24, 48, 96."""
    value = int(axis.value)
    while value % 2 == 0 and math.log2(value // 2) >= axis.low - 1e-9:
        value //= 2
    while math.log2(value) <= axis.high + 1e-9:
        yield value
        value *= 2


def whole_numbers(axis: Axis) -> Iterator[int]:
    """Yield whole numbers in the range: all up to 100, and those of two significant digits above."""
    yield from range(math.ceil(2.0**axis.low - 1e-9), min(math.floor(2.0**axis.high + 1e-9), 100) + 1)
    for i in range(65):
        number = 2.0 ** (axis.low + (axis.high - axis.low) * i / 64)
        if number > 100:
            yield int(float(f"{number:.2g}"))
