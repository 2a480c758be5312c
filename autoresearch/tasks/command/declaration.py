"""Read task.toml, which declares a task, and refuse an invalid one with the line and a remedy. No I/O.

Only the text is checked here; checks.py compares it with the folder.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from autoresearch.candidate.declared_values import searchable
from autoresearch.errors import TaskError
from autoresearch.formats import shortened
from autoresearch.metrics import LARGEST
from autoresearch.paths import TASK_FILE
from autoresearch.tasks.command.keys import (
    SIZES,
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
        data["knobs"] = _flat(data["knobs"]) if isinstance(data.get("knobs"), dict) else data.get("knobs", {})
        content = json.dumps(data, default=lambda date: [[]])  # no key takes a date, nor a list of lists
    except tomllib.TOMLDecodeError as error:
        mend = "A key stands once" if "overwrite" in str(error) else _SYNTAX
        raise TaskError(f"{TASK_FILE} is not TOML: {error}. {mend}") from None
    except RecursionError:
        raise TaskError(f"{TASK_FILE} is nested too deeply. A value is a number, a text, or a list of them") from None
    try:
        declared = Declaration.model_validate_json(content, strict=True)
    except ValidationError as error:
        refuse(text, _distinct([_problem(e["type"], e["loc"], e["msg"]) for e in error.errors(include_url=False)]))
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


_SYNTAX = "A text needs quotes, a list brackets, and a key quotes where it has more than letters, digits, - and _"


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the knobs by their full names: TOML reads `server.port = [1, 9]` as a table within a table."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = _flat(value) if isinstance(value, dict) else None
        found |= {f"{name}.{rest}": v for rest, v in inner.items()} if inner is not None else {name: value}
    return found


def _distinct(problems: Sequence[Problem]) -> list[Problem]:
    """Return one problem for each place, and none for what is around the place of another."""
    found = {problem.path: problem for problem in reversed(problems)}
    around = {path[:size] for path in found for size in range(1, len(path))}
    return [problem for path, problem in reversed(found.items()) if path not in around]


def _problem(kind: str, loc: tuple[str | int, ...], message: str) -> Problem:
    """Turn an error of pydantic into a problem, in the words of task.toml."""
    path = loc[: _BRANCHES.get(str(loc[0]), len(loc))] if loc else loc
    key = str(path[-1]) if path else ""
    table = _TABLES.get(str(path[0]), Declaration) if len(path) > 1 else Declaration
    if kind == "extra_forbidden":
        keys = [field.alias or name for name, field in table.model_fields.items()]
        close = get_close_matches(key, keys, n=1)
        mend = f"Did you mean `{close[0]}`?" if close else f"The keys are {', '.join(sorted(keys))}"
        if table is not Declaration and key in Declaration.model_fields and not close:
            mend = "Move it to the top of the file, before the first line in brackets"
        return Problem(path, f"`{key}` is not a key of {_place(path)}", mend)
    if kind == "missing":
        return Problem(path, f"`{key}` is missing in {_place(path)}", f"Add it: {_EXAMPLES.get(key, f'{key} = ...')}")
    said = f"has to be {_UNIONS[str(path[0])]}" if len(path) < len(loc) else _WORDS.get(kind) or _plain(message)
    names = [str(part) for part in reversed(path) if isinstance(part, str)]
    example = next((_EXAMPLES[name] for name in names if name in _EXAMPLES), "see docs/tasks.md")
    return Problem(path, f"`{'.'.join(map(str, path))}` {said}", f"For instance: {example}")


def _plain(message: str) -> str:
    return message.replace("Input should be", "has to be").replace("String should", "has to")


# Keys of several types, of which each is tried: the length of their path, and what they may be.
_BRANCHES = {"knobs": 3, "network": 1}
_UNIONS = {"knobs": "a finite number, a text, true or false", "network": 'true, false or "local"'}
_WORDS = {
    "model_type": "has to be a table",
    "dict_type": "has to be a table",
    "tuple_type": "has to be a list",
    "too_short": "has too few elements",
    "too_long": "has too many elements",
    "string_type": "has to be a text in quotes",
    "string_too_short": "is empty",
    "int_type": "has to be a whole number",
    "float_type": "has to be a number",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false",
    "string_pattern_mismatch": "has to be a letter, then up to 39 letters, digits and signs of . _ % / -",
}
_EXAMPLES = {
    "edit": 'edit = ["config.toml"]',
    "metric": '[metric] with name = "seconds" and from = "wall"',
    "guard": '[[guard]] with run = "python check.py"',
    "limit": '[[limit]] with metric = "peak_rss" and max_ratio = 1.1',
    "knobs": "[knobs] with SIZE = [1, 64]",
    "env": 'env = { LEVEL = "2" }',
    "from": 'from = "score:json:seconds"',
    "name": 'name = "seconds"',
    "unit": 'unit = "ms"',
    "run": 'run = "python run.py"',
    "scale": 'scale = "linear" or "log"',
    "direction": 'direction = "lower" or "higher"',
    "when": 'when = "before" or "after"',
    "scatter": 'scatter = "noisy", "exact" or "counts"',
    "timeout_s": "timeout_s = 60",
    "repeats": "repeats = 5",
    "warmup": "warmup = 1",
    "min_gain": "min_gain = 0.01",
    "decimals": "decimals = 2",
    "counts": 'counts = ["score:json:successes", "score:json:trials"]',
    "max": "max = 200",
    "max_ratio": "max_ratio = 1.1",
    "hide": 'hide = ["labels/"]',
    "read": 'read = ["schema.sql"]',
    "link": 'link = ["node_modules"]',
    "categories": 'categories = ["query", "index"]',
    "network": 'network = "local"',
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
        if not found[0] or "\n" in text or "\0" in text:
            what = "begins with no program" if not found[0] else "has to be one line of text"
            yield Problem(path, f"{shortened(repr(text), 80)} {what}", f"For instance: {_EXAMPLES['run']}")
            continue
        signs = [word for word in found if word in _SHELL or re.match(r"\d?>", word)]
        if re.match(r"\w+=", found[0]):
            yield Problem(path, f"`{found[0]}` is no program", f"Set variables by env = {{ {_variable(found[0])} }}")
        if signs:
            script = "Put the commands into a script and run that; commands run without a shell"
            yield Problem(path, f"`{signs[0]}` is a shell's sign", script)


def _variable(word: str) -> str:
    name, _, value = word.partition("=")
    return f"{name} = {json.dumps(value)}"


_SHELL = ("|", "||", "&&", "&", ";", "<", "<<")
_SOURCES = "score:json:KEY, run:line:NAME, run:regex:PATTERN, wall, cpu, peak_rss, size:GLOB or gzip:GLOB"


def _source_problems(
    declared: Declaration, path: TomlPath, source: str, kinds: tuple[str, ...] = ()
) -> Iterable[Problem]:
    try:
        kind, argument = split_source(source)
    except ValueError as error:
        yield Problem(path, str(error), f"Write {_SOURCES}")
        return
    if kinds and kind not in kinds:
        yield Problem(path, f"`{source}` cannot stand here", f"Write {' or '.join(f'{k}:KEY' for k in kinds)}")
    elif kind in SIZES and _leads_out(argument):
        yield Problem(path, f"`{argument}` leads out of the folder", _BELOW)
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
    if metric.scatter == "counts" and metric.counts is None:
        yield Problem(("metric", "scatter"), "counts need successes and trials", f"Add {_EXAMPLES['counts']}")
    if scatter_of(metric) == "exact" and metric.cases is None and metric.min_gain is None:
        what = "an exact metric has no noise to tell a gain that matters from one that does not"
        yield Problem(("metric", "from"), what, "Add min_gain, the least gain worth a change, or cases")
    if metric.scale == "log" and (metric.min_gain or 0) >= 1:
        yield Problem(("metric", "min_gain"), "on a log scale min_gain is a share", "Write 0.01 for 1%")
    if metric.interleave and not _is_timed(declared):
        yield Problem(("metric", "interleave"), "nothing runs that could alternate", "Leave interleave out")


def _is_timed(declared: Declaration) -> bool:
    return bool(declared.run or declared.score) and metric_kind(declared.metric) not in SIZES


_BELOW = "Name a path below the task's folder"


def _leads_out(pattern: str) -> bool:
    return pattern.startswith(("/", "~")) or ".." in pattern.split("/")


def _other_problems(declared: Declaration) -> Iterable[Problem]:
    if not (declared.run or declared.score) and metric_kind(declared.metric) not in SIZES:
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
        if _leads_out(pattern):
            yield Problem(path, f"`{pattern}` leads out of the folder", _BELOW)
    for name, value in declared.env.items():
        if not name or "=" in name or "\0" in name + value:
            yield Problem(("env", name), f"{name!r} with {value!r} cannot be a variable", f"Write {_EXAMPLES['env']}")
    for name, values in declared.knobs.items():
        if beyond := [v for v in values if not searchable(v)]:
            what = f"{name} has the value {shortened(str(beyond[0]), 20)}, and numbers end at {LARGEST:g}"
            yield Problem(("knobs", name), what, "Write [low, high]")
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) == 2 and not numbers[0] < numbers[1]:
            yield Problem(("knobs", name), f"{name} has the range {values[0]} to {values[1]}", "Write [low, high]")
