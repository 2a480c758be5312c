"""Write the parts of a prompt for a declared task: its brief, its files, and the forms of an answer. No I/O.

prompt.py puts them together, as it does training's own.
"""

from __future__ import annotations

from collections.abc import Collection

from autoresearch.candidate import constants, edits
from autoresearch.candidate.constants import LANGUAGES
from autoresearch.candidate.declared_values import values_text
from autoresearch.candidate.pack import unpack
from autoresearch.records import Brief, Context
from autoresearch.search.llm.tokens import estimate

READ_TOKENS = 4000  # of the files that are shown and may not change, at most
LONGEST_CONSTANT = 600  # characters; a longer literal is a table, not a setting

HEAD = """\
HYPOTHESIS: one or two sentences: what changes, and why {metric} {moves}
{category}TITLE: the change in under 80 characters
"""
SET = """\
Then one to three lines that set constants or keys, each to a value of the same type as now:
SET name = value
"""
BLOCKS = """\
Then the edits, as few and as short as possible, in any mix of these forms. A line `### path` names the file of what \
follows it.
"""
SET_FORM = """
A constant or a key gets another value:
SET name = value
"""
SEARCH_FORM = """
Lines are replaced. SEARCH holds whole lines copied exactly from the file, enough of them to occur only once:
### {path}
<<<<<<< SEARCH
lines of the file
=======
the lines that take their place
>>>>>>> REPLACE
"""
DEFINITION_FORM = """
A Python function, class or method is replaced as a whole:
### {path}
REPLACE def name
```python
def name(...):
    all of its new lines
```
"""
FILE_FORM = """
A file is replaced as a whole, complete, without placeholders for unchanged lines:
### {path}
```{language}
all of its lines
```
"""
MENU = """\
## Choose one of these changes

Each is new: it has not been tried tonight.
{menu}

## Answer with one JSON object

{{"because": "one sentence: what it changes, and why {metric} {moves}", "choice": "the line that you choose, without \
its number"}}
"""


# --- what the model is told first -------------------------------------------------------------------------------------


def system(context: Context, brief: Brief, form: str, budget: int, bytes_per_token: float) -> str:
    """Return role and program.md; where code may be written, with what it can use and the files that may not change."""
    parts = [f"{brief.role.strip()}\nNobody reads your answer but a program: keep to the form asked for."]
    parts += [context.program.strip()]
    if form not in ("set", "menu"):
        parts += [brief.api.strip(), _read(brief, min(READ_TOKENS, budget // 3), bytes_per_token)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _read(brief: Brief, room: int, bytes_per_token: float) -> str:
    """Show the files that may not change, cut where they exceed `room` tokens."""
    parts = ["## Files that you cannot change"] if brief.read else []
    for path, text in brief.read.items():
        most = max(0, int(room * bytes_per_token))
        shown = text if len(text) <= most else f"{text[:most]}\n... ({len(text) - most} characters more)"
        room -= estimate(shown, bytes_per_token)
        parts.append(f"{path}:\n\n{edits.fenced(shown.strip(), path)}")
    return "\n\n".join(parts)


# --- the files --------------------------------------------------------------------------------------------------------


def shown(context: Context, form: str, names: Collection[str]) -> str:
    """Show what the form needs: the constants, those in `names` for a menu, or all files."""
    brief = context.brief or Brief(role="")
    if form in ("set", "menu"):
        lines = constant_lines(context.source, brief, names if form == "menu" else None)
        return f"## The constants and keys\n\n```\n{lines}\n```\n" if lines else ""
    files = [f"### {path}\n\n{edits.fenced(text.strip(), path)}" for path, text in unpack(context.source).items()]
    ranges = [f"{name}: {values_of(brief, name)}" for name in brief.knobs]
    knobs = ["## Knobs and their values", "\n".join(ranges)] if ranges else []
    return "\n\n".join(["## The files that you change (none can be added)", *files, *knobs]) + "\n"


def constant_lines(source: str, brief: Brief, names: Collection[str] | None = None) -> str:
    """List the constants and keys, or those in `names`, with the values that the task declares for them.

    -> "headline = \\"a\\"  (one of a, b, c)\\npx = 14  (10 to 48)"
    """
    rows = []
    for name, literal in constants.literals(source).items():
        if (names is None or name in names) and len(literal) <= LONGEST_CONSTANT:
            values = values_of(brief, name)
            rows.append(f"{name} = {' '.join(literal.split())}" + (f"  ({values})" if values else ""))
    return "\n".join(rows)


def values_of(brief: Brief, name: str) -> str:
    """Say which values a task declares for a constant: "10 to 48", "one of a, b"; empty where it declares none."""
    spec = brief.knobs.get(name)
    return values_text(spec) if spec is not None else ""


# --- the forms of an answer -------------------------------------------------------------------------------------------


def answer_form(context: Context, brief: Brief, form: str) -> str:
    """Describe the form of an answer, in the words and languages of the task."""
    category = f"CATEGORY: one of {', '.join(brief.categories)}\n" if set(brief.categories) - {"other"} else ""
    head = HEAD.format(metric=context.task.metric.name, moves=moves(context), category=category)
    files = list(unpack(context.source))
    main = {"path": files[0], "language": edits.language_of(files[0])}
    if form == "set":
        return head + SET
    if form == "file":
        return f"{head}Then each file that changes.\n{FILE_FORM.format(**main)}"
    python = next((path for path in files if path.endswith(".py")), None)
    parts = [
        SET_FORM if has_constants(context) else "",
        SEARCH_FORM.format(**main),
        DEFINITION_FORM.format(path=python) if python else "",
        FILE_FORM.format(**main),
    ]
    return f"{head}{BLOCKS}{''.join(parts)}"


def menu_form(context: Context, listed: str) -> str:
    """Return the menu with the form of its answer."""
    return MENU.format(menu=listed, metric=context.task.metric.name, moves=moves(context))


def moves(context: Context) -> str:
    """Return what the metric does when it gets better: "falls" or "rises"."""
    return "falls" if context.task.metric.direction == "lower" else "rises"


def now(context: Context) -> str:
    """Say where the metric stands, and how much it scatters."""
    metric, sigma = context.task.metric, context.sigma_score
    noise = f"one run's noise (sigma) is {metric.size(sigma)}" if sigma else "its value does not scatter"
    return f"{metric.text(context.incumbent_score)}, and {metric.direction} is better; {noise}."


def has_constants(context: Context) -> bool:
    """Return whether a file of the task has constants or keys."""
    of_languages = any(path.lower().endswith(tuple(LANGUAGES)) for path in unpack(context.source))
    return of_languages and bool(constants.literals(context.source))
