"""Read task.toml, which declares a task, and refuse an invalid one with the line and a remedy. No I/O.

Only the text is checked here; checks.py compares it with the folder.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import ValidationError

from autoresearch.errors import TaskError
from autoresearch.paths import TASK_FILE
from autoresearch.tasks.command.keys import (
    Declaration,
    FinalTable,
    GuardTable,
    LimitTable,
    MetricTable,
    Table,
    metric_kind,
    scatter_of,
    split_source,
    words,
)
from autoresearch.tasks.command.toml_lines import TomlPath, key_lines, line_of


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in task.toml that has to be mended: where, what, and how."""

    path: TomlPath
    what: str
    mend: str


def read(text: str) -> Declaration:
    """Return what a task.toml declares. Raises TaskError with a line for each problem."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{TASK_FILE} is not TOML: {error}. A string needs quotes, a list brackets") from None
    try:
        declared = Declaration.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        refuse(text, [_problem(e["type"], e["loc"], e["msg"]) for e in error.errors(include_url=False)])
    refuse(text, [*_command_problems(declared), *_metric_problems(declared), *_other_problems(declared)])
    return declared


def refuse(text: str, problems: Iterable[Problem]) -> None:
    """Raise TaskError where there are problems, with the line of task.toml and a remedy for each."""
    lines = key_lines(text)
    said = []
    for problem in problems:
        line = line_of(lines, problem.path)
        said.append(f"{TASK_FILE}{f', line {line}' if line else ''}: {problem.what}. {problem.mend}")
    if said:
        raise TaskError("\n".join(said))


# --- problems ---------------------------------------------------------------------------------------------------------

_TABLES: Mapping[str, type[Table]] = {
    "metric": MetricTable,
    "guard": GuardTable,
    "limit": LimitTable,
    "test": FinalTable,
}


def _problem(kind: str, loc: tuple[str | int, ...], message: str) -> Problem:
    """Turn an error of pydantic into a problem, in the words of task.toml."""
    path = tuple(part for part in loc if not (isinstance(part, str) and ("[" in part or part in _UNION)))
    key = str(path[-1]) if path else ""
    table = _TABLES.get(str(path[0]), Declaration) if len(path) > 1 else Declaration
    if kind == "extra_forbidden":
        keys = [field.alias or name for name, field in table.model_fields.items()]
        close = get_close_matches(key, keys, n=1)
        mend = f"Did you mean `{close[0]}`?" if close else f"The keys are {', '.join(sorted(keys))}"
        return Problem(path, f"`{key}` is not a key of {_place(path)}", mend)
    if kind == "missing":
        return Problem(path, f"`{key}` is missing in {_place(path)}", f"Add it: {_EXAMPLES.get(key, f'{key} = ...')}")
    said = message[0].lower() + message[1:]
    return Problem(
        path, f"`{'.'.join(map(str, path))}`: {said}", f"For instance: {_EXAMPLES.get(key, 'see docs/tasks.md')}"
    )


_UNION = ("bool", "int", "float", "str", "constrained-str")
_EXAMPLES = {
    "edit": 'edit = ["config.toml"]',
    "metric": '[metric] with name = "seconds" and from = "wall"',
    "from": 'from = "score:json:seconds"',
    "name": 'name = "seconds"',
    "run": 'run = "python run.py"',
    "scale": 'scale = "linear" or "log"',
    "direction": 'direction = "lower" or "higher"',
    "when": 'when = "before" or "after"',
    "scatter": 'scatter = "noisy", "exact" or "counts"',
    "timeout_s": "timeout_s = 60",
    "repeats": "repeats = 5",
    "warmup": "warmup = 1",
    "counts": 'counts = ["score:json:successes", "score:json:trials"]',
    "hide": 'hide = ["labels/"]',
    "read": 'read = ["schema.sql"]',
}


def _place(path: TomlPath) -> str:
    tables = {"guard": "[[guard]]", "limit": "[[limit]]"}
    return tables.get(str(path[0]), f"[{path[0]}]") if len(path) > 1 else TASK_FILE


def _command_problems(declared: Declaration) -> Iterable[Problem]:
    for path, text in declared.commands.items():
        try:
            found = words(text)
        except ValueError as error:
            yield Problem(path, f"`{text}` cannot be split into words: {error}", "Close the quote")
            continue
        signs = [word for word in found if word in _SHELL or re.match(r"\d?>", word)]
        if signs:
            script = "Put the commands into a script and run that; commands run without a shell"
            yield Problem(path, f"`{signs[0]}` is a shell's sign", script)


_SHELL = ("|", "||", "&&", "&", ";", "<", "<<")
_SOURCES = "score:json:KEY, run:line:NAME, run:regex:PATTERN, wall, cpu, peak_rss, size:GLOB or gzip:GLOB"


def _source_problems(
    declared: Declaration, path: TomlPath, source: str, kinds: tuple[str, ...] = ()
) -> Iterable[Problem]:
    try:
        kind, _ = split_source(source)
    except ValueError as error:
        yield Problem(path, str(error), f"Write {_SOURCES}")
        return
    if kinds and kind not in kinds:
        yield Problem(path, f"`{source}` cannot stand here", f"Write {' or '.join(f'{k}:KEY' for k in kinds)}")
    elif kind.startswith("score") and not declared.score:
        yield Problem(path, f"`{source}` is printed by the judge, and there is none", 'Add score = "python score.py"')
    elif kind.startswith("run") and declared.score:
        what = f"`{source}` is printed by what is edited, although a judge is declared"
        yield Problem(path, what, "Let the judge print it: score:json:KEY")
    elif kind in ("run:line", "run:regex", "wall", "cpu", "peak_rss") and not declared.run:
        yield Problem(path, f"`{source}` is measured of `run`, and there is none", 'Add run = "python run.py"')


def _metric_problems(declared: Declaration) -> Iterable[Problem]:
    metric = declared.metric
    yield from _source_problems(declared, ("metric", "from"), metric.source)
    if metric.cases is not None:
        yield from _source_problems(declared, ("metric", "cases"), metric.cases, ("score:json",))
    for i, source in enumerate(metric.counts or ()):
        yield from _source_problems(declared, ("metric", "counts", i), source, ("score:json",))
    for i, limit in enumerate(declared.limit):
        yield from _source_problems(declared, ("limit", i, "metric"), limit.metric)
        if (limit.max is None) == (limit.max_ratio is None):
            yield Problem(
                ("limit", i), "a limit has one of `max` and `max_ratio`", "Write max_ratio = 1.1 or max = 100"
            )
    if scatter_of(metric) == "exact" and metric.cases is None and metric.min_gain is None:
        what = "an exact metric has no noise to tell a gain that matters from one that does not"
        yield Problem(("metric", "from"), what, "Add min_gain, the least gain worth a change, or cases")
    if metric.scale == "log" and (metric.min_gain or 0) >= 1:
        yield Problem(("metric", "min_gain"), "on a log scale min_gain is a share", "Write 0.01 for 1%")
    if metric.interleave and not _is_timed(declared):
        yield Problem(("metric", "interleave"), "nothing runs that could alternate", "Leave interleave out")


def _is_timed(declared: Declaration) -> bool:
    return bool(declared.run or declared.score) and not metric_kind(declared.metric).startswith(("size", "gzip"))


def _other_problems(declared: Declaration) -> Iterable[Problem]:
    if not (declared.run or declared.score) and not metric_kind(declared.metric).startswith(("size", "gzip")):
        yield Problem(("metric", "from"), "nothing is run", 'Add run = "python run.py"')
    if declared.test and not (declared.test.run or declared.test.score):
        what = "[test] changes nothing: it has neither `run` nor `score`"
        yield Problem(("test",), what, "Give it a command that measures on what was hidden")
    patterns = {"edit": declared.edit, "read": declared.read, "hide": declared.hide, "link": declared.link}
    named: list[tuple[TomlPath, str]] = [((key, i), p) for key, found in patterns.items() for i, p in enumerate(found)]
    if declared.test:
        named += [(("test", "hide", i), p) for i, p in enumerate(declared.test.hide)]
        named += [(("test", "show", i), p) for i, p in enumerate(declared.test.show)]
    for path, pattern in [*named, (("brief",), declared.brief)]:
        if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
            yield Problem(path, f"`{pattern}` leads out of the folder", "Name a path below the task's folder")
    for name, values in declared.knobs.items():
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) == 2 and not numbers[0] < numbers[1]:
            yield Problem(("knobs", name), f"{name} has the range {values[0]} to {values[1]}", "Write [low, high]")
