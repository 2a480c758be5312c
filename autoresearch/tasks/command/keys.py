"""Define the keys of task.toml, and what they mean to the loop. No I/O. docs/tasks.md explains each."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from autoresearch.metrics import Direction, Metric, Scale, Scatter, Trust
from autoresearch.system.sandbox import Network
from autoresearch.tasks.command.toml_lines import TomlPath

SIZES = ("size", "gzip")  # kinds of sources that are measured of files
CATEGORIES = ("approach", "values", "structure", "removal", "simplification", "other")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Command = Annotated[str, StringConstraints(strip_whitespace=True)]  # "" for none
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Choice = bool | int | Finite | str


class Table(BaseModel):
    """A table of task.toml. Keys that it does not define are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MetricTable(Table):
    """The number that judges the task: `[metric]`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][\w.%/-]{0,39}$")]
    source: Annotated[str, Field(alias="from")]
    unit: Annotated[str, Field(max_length=12)] = ""
    direction: Direction = "lower"
    scale: Scale = "linear"
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    warmup: Annotated[int, Field(ge=0, le=100)] = 0
    interleave: bool = False
    cases: str | None = None
    counts: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)] | None = None  # successes, trials
    scatter: Scatter | None = None
    min_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None  # of the value; a share on a log scale
    decimals: Annotated[int, Field(ge=0, le=12)] | None = None


class GuardTable(Table):
    """A condition that a candidate has to fulfil: `[[guard]]`."""

    run: Text
    when: Literal["before", "after"] = "before"
    candidate: bool = False  # it runs the candidate's code, so it sees what that sees
    timeout_s: Seconds | None = None


class LimitTable(Table):
    """A number that a candidate has to stay below: `[[limit]]`."""

    metric: Text
    max_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # to the baseline's
    max: Finite | None = None


class FinalTable(Table):
    """How baseline and winner are measured in the final validation: `[test]`."""

    run: Text | None = None
    score: Text | None = None
    hide: tuple[Text, ...] = ()
    show: tuple[Text, ...] = ()  # of what is hidden, to the final validation's run


class Declaration(Table):
    """The content of a task.toml."""

    edit: Annotated[tuple[Text, ...], Field(min_length=1)]
    metric: MetricTable
    read: tuple[Text, ...] = ()
    hide: tuple[Text, ...] = ()
    link: tuple[Text, ...] = ()
    env: dict[str, str] = {}
    prepare: Command = ""
    build: Command = ""
    run: Command = ""
    score: Command = ""
    timeout_s: Seconds = 60.0
    score_timeout_s: Seconds = 120.0
    build_timeout_s: Seconds = 600.0
    prepare_timeout_s: Seconds = 1800.0
    network: bool | Literal["local"] = False
    brief: Text = "program.md"
    categories: tuple[Text, ...] = CATEGORIES
    guard: tuple[GuardTable, ...] = ()
    limit: tuple[LimitTable, ...] = ()
    test: FinalTable | None = None
    knobs: dict[str, Annotated[tuple[Choice, ...], Field(min_length=1)]] = {}

    @cached_property
    def reach(self) -> Network:
        """What commands may reach."""
        return "local" if self.network == "local" else "open" if self.network else "none"

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """The patterns of what a candidate's processes do not see."""
        return (*self.hide, *(self.test.hide if self.test else ()))

    @cached_property
    def commands(self) -> Mapping[TomlPath, str]:
        """Every command that is not empty, by its place."""
        named: dict[TomlPath, str] = {(name,): getattr(self, name) for name in ("prepare", "build", "run", "score")}
        named |= {("guard", i, "run"): guard.run for i, guard in enumerate(self.guard)}
        if self.test:
            named |= {("test", "run"): self.test.run or "", ("test", "score"): self.test.score or ""}
        return {path: text for path, text in named.items() if text.strip()}

    @cached_property
    def judging(self) -> Mapping[TomlPath, str]:
        """The commands that a candidate must not be able to change: those that judge, and the one that prepares."""
        trusted = {"prepare", "score"}
        return {
            path: text
            for path, text in self.commands.items()
            if path[-1] in trusted or (path[0] == "guard" and not self.guard[int(path[1])].candidate)
        }


def words(command: str) -> list[str]:
    """Split a command as a shell does. Raises ValueError for a quote that is not closed."""
    return shlex.split(command)


# --- the metric -------------------------------------------------------------------------------------------------------


_SOURCE = re.compile(r"(score:json|run:line|run:regex|size|gzip):(.+)|(wall|cpu|peak_rss)", re.DOTALL)


def split_source(source: str) -> tuple[str, str]:
    """Return kind and argument of a metric's source. Raises ValueError for a text that is none.

    >>> split_source("score:json:p50_ms"), split_source("wall")
    (('score:json', 'p50_ms'), ('wall', ''))
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise ValueError(f"`{source}` is not a source of a number")
    kind, argument = (found[3], "") if found[3] else (found[1], found[2])
    if kind == "run:regex":
        try:
            groups = re.compile(argument, re.MULTILINE).groups
        except re.error as error:
            raise ValueError(f"`{argument}` is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"`{argument}` has {groups} groups in parentheses and needs one, around the number")
    return kind, argument


def metric_kind(metric: MetricTable) -> str:
    """Return where the number comes from: "score:json", "wall"; "" where `from` makes no sense."""
    found = _SOURCE.fullmatch(metric.source)
    return (found[1] or found[3]) if found else ""


def scatter_of(metric: MetricTable) -> Scatter:
    """Return how values of one version differ, as far as the declaration tells: sizes are exact, counts are counts."""
    if metric.scatter is not None:
        return metric.scatter
    if metric.counts is not None:
        return "counts"
    return "exact" if metric_kind(metric) in ("size", "gzip") else "noisy"


def trust_of(metric: MetricTable) -> Trust:
    """Return who says the number."""
    kind = metric_kind(metric)
    return "judged" if kind == "score:json" else "reported" if kind.startswith("run") else "clocked"


def metric_of(declared: Declaration) -> Metric:
    """Return the metric as the loop knows it."""
    table = declared.metric
    kind = metric_kind(table)
    unit = table.unit or {"wall": "s", "cpu": "s", "peak_rss": "MB", "size": "bytes", "gzip": "bytes"}.get(kind, "")
    return Metric(
        name=table.name,
        unit=unit,
        direction=table.direction,
        scale=table.scale,
        trust=trust_of(table),
        scatter=scatter_of(table),
        min_gain=_min_gain(table),
        decimals=table.decimals,
    )


def _min_gain(table: MetricTable) -> float:
    """Return the least gain in scores: a share of the value becomes a difference of logarithms."""
    gain = table.min_gain or 0.0
    if table.scale == "linear":
        return gain
    return -math.log1p(-gain) if table.direction == "lower" else math.log1p(gain)
