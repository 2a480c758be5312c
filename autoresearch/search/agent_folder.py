"""Write what an outside agent finds in its folder: the files to edit, the prompt, the brief, the history. No I/O.

The files of a declared task stand at their paths, beside those that it shows and that may not change. The loop's own
files have the names of NAMES, or others where the task has a file of that name.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.candidate.pack import is_packed, unpack
from autoresearch.paths import EDITABLE, PROGRAM
from autoresearch.records import CATEGORIES, Brief, Context, Failure, Proposal
from autoresearch.search import history
from autoresearch.search.llm import declared, prompt

TRAINING = """\
You are the researcher in an automated loop. {file} in this folder is a small language-model training script. The loop
trains it for a fixed time on this machine and measures val_bpb (validation bits per byte, lower is better); a change
that measurably lowers val_bpb is kept, any other is undone.

Make ONE change to {file}, in place, and nothing else. {program} says what may change and what matters; {history} says
what has been tried. There is no data here, so do not train; `python -m py_compile {file}` shows syntax errors.

Then write {note} with these three lines:

TITLE: the change in under 80 characters
HYPOTHESIS: one or two sentences: what changes, and why val_bpb falls within the time budget
CATEGORY: one of {categories}

{api}
## Now

val_bpb is {bpb:.4f}; one run's noise (sigma) is {sigma:.4f}.
{machine}
{directive}
"""
ANY = """\
{role}

Make ONE change to these files in this folder, in place, and nothing else: {files}. A file that you \
add is not taken. {program} says what matters; \
{history} says what has been tried. Nothing else of the task is here, so do not run it.

Then write {note} with these three lines:

TITLE: the change in under 80 characters
HYPOTHESIS: one or two sentences: what changes, and why {metric} {moves}
CATEGORY: one of {categories}

{api}
## Now

{now}
{machine}
{directive}
"""
MEND = """\
## The last change failed before training

{files}, "{title}". It failed ({kind}): {message}

{detail}

Mend it in place.
"""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the loop's own files in the folder."""

    note: str = "NOTE.md"
    prompt: str = "PROMPT.md"
    history: str = "HISTORY.md"


def names(context: Context) -> Names:
    """Return the names of the loop's files, which no file of the task has, on a file system that ignores case, too."""
    taken = {path.casefold() for path in [*context.task.files, *(context.brief.read if context.brief else ())]}
    mine = (Names().note, Names().prompt, Names().history)
    return Names(*(f"AUTORESEARCH-{name}" if name.casefold() in taken else name for name in mine))


def files(source: str) -> dict[str, str]:
    """Return the files of a source, by their paths."""
    return unpack(source) if is_packed(source) else {EDITABLE: source}


def texts(context: Context, source: str, told: str) -> dict[str, str]:
    """Return all files of the folder, for an agent that is to edit `source` and is told `told`."""
    own = names(context)
    read = context.brief.read if context.brief else {}
    loops = {PROGRAM: context.program, own.history: history_text(context), own.prompt: told}
    return {**loops, **read, **files(source)}


def task(context: Context) -> str:
    """Return the prompt of a turn."""
    own, directive = names(context), context.directive.text if context.directive else ""
    shared = {"program": PROGRAM, "history": own.history, "note": own.note, "machine": context.machine}
    if context.brief is None:
        return TRAINING.format(
            **shared,
            file=EDITABLE,
            categories=", ".join(CATEGORIES),
            api=prompt.api(context),
            bpb=context.incumbent_score,
            sigma=context.sigma_score,
            directive=directive,
        )
    return ANY.format(
        **shared,
        role=context.brief.role.strip(),
        files=", ".join(files(context.source)),
        metric=context.task.metric.name,
        moves=declared.moves(context),
        categories=", ".join(context.brief.categories) or "other",
        api=_api(context.brief),
        now=declared.now(context),
        directive=directive,
    )


def _api(brief: Brief) -> str:
    """Return what the files can use, and the values that a task declares for its constants and keys."""
    knobs = [f"- {name}: {declared.values_of(brief, name)}" for name in brief.knobs]
    listed = ["Values of constants and keys:\n" + "\n".join(knobs)] if knobs else []
    return "\n\n".join([part for part in [brief.api.strip(), *listed] if part]) + "\n"


def mend(context: Context, proposal: Proposal, failure: Failure) -> str:
    """Return the prompt of a turn that mends a change which failed."""
    changed = list(files(context.source))
    holds = f"{EDITABLE} holds that change" if context.brief is None else f"{', '.join(changed)} hold that change"
    heading = MEND if context.brief is None else MEND.replace(" before training", "")
    told = heading.format(
        files=holds,
        title=proposal.title,
        kind=failure.kind,
        message=failure.message,
        detail=failure.detail.strip()[-prompt.FAILURE_CHARS :],
    )
    return f"{task(context)}\n{told}"


def history_text(context: Context) -> str:
    """Return the text of HISTORY.md: the values tried for each constant, a line per experiment, and hints."""
    elsewhere = "\n".join(history.hint_numbers(context.hints, context.source))
    if not context.history:
        return f"Nothing has been tried yet.\n{elsewhere}"
    values = history.values_tried(context.source, context.history, context.sigma_score, context.incumbent_score)
    table = [history.values_heading(context), *values, ""] if values else []
    return "\n".join([*table, history.trials_heading(context), *history.lines(context), elsewhere]) + "\n"
