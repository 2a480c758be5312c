"""Build the messages for a language model from a Context, within a budget of tokens. No I/O.

The texts here are training's; those of a declared task are in declared.py.

The parts that change least come first, so that the server's prefix cache is used: instructions and program.md, then the
script with its constants last, then the trials, the values and the turn's directive. History is shortened to fit the
budget; the server must have nothing to cut.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autoresearch.candidate import constants
from autoresearch.errors import ProposerError
from autoresearch.records import CATEGORIES, Context, Directive, Failure, Proposal, Set
from autoresearch.search import history
from autoresearch.search.llm import choices, declared, forms, functions, script
from autoresearch.search.llm.backend import Message
from autoresearch.search.llm.tokens import BYTES_PER_TOKEN, conversation_tokens, estimate
from autoresearch.search.menu import MenuEntry

HISTORY_TOKENS = 2500  # for history, at most; more costs time and helps little
HINT_TOKENS = 700  # for hints, at most
PROGRAM_TOKENS = 2000  # for program.md in a small context, without a warning
LONGEST_CONSTANT = 160  # characters; a longer literal is a table, not a setting
ERROR_CHARS = 1500  # of an error that is sent back
MOST_NEW = 40  # changes that are listed after an answer with nothing new
FAILURE_CHARS = 1800  # of a failure's detail that is sent back
NOT_ON_MENUS = ("combine", "simplify")  # kinds of turns

INSTRUCTIONS = """\
You are the researcher in an automated loop. You change one small language-model training script, the loop trains it \
for a fixed time on this machine and measures val_bpb (validation bits per byte, lower is better). A change that \
measurably lowers val_bpb is kept and becomes the new script; any other is undone. You answer with ONE change at a \
time, so that its effect can be seen. Nobody reads your answer but a program: keep to the form asked for.
"""

API = """\
## What the script can use

A static check refuses other imports than mlx, numpy, prepare and math, functools, dataclasses and their like; files,
getattr, setattr, eval, exec, mx.random.seed; and training code that runs at import.
- task: seq_len={seq_len}, vocab_size={vocab_size}, bos_id, budget_s={budget_s}; run.task, run.seed
- run.progress: used share of the time budget, 0 to 1; schedules follow it
- run.warmup_batch(rows) -> x, y: random tokens, (rows, seq_len) int32, before the clock; undo what they teach
- run.batches(rows) -> iterator of x, y: the training data, until the budget is used; the clock starts with the first
- run.log(step, loss): the previous step's loss, an mx.array in nats a token; ends a diverged run
- prepare.cross_entropy(logits, targets) -> mean nats, float32
- prepare.chunked_cross_entropy(head, x, weight, targets): the same of head(x, weight), never all logits at once; head
  uses no other learned array
- prepare.relu_squared(x) = mx.square(nn.relu(x)); prepare.soft_cap(x, limit) = limit * mx.tanh(x / limit), float32
- prepare.attention(q, k, v, mask): of (B, H, n, D) and (B, H_kv, m, D); mask is "causal" or bool (n, m)
- prepare.attend_in_blocks(attend, q, k, v, window, size) = attend(q, k, v, window), in less memory
- prepare.parallel(function, parts) -> [function(part) for part in parts], on a CPU at the same time, one a core
- model(idx: (B, T) int32) -> logits (B, T, vocab_size); all that it has learned is in model.parameters()
"""

_HOW = re.compile(r"^## How to answer\b")  # the section of program.md about forms that a menu does not have


@dataclass(frozen=True, slots=True)
class Subject:
    """What an answer is to be about, beside the form: a menu to choose from, or a function to rewrite."""

    entries: Sequence[MenuEntry] = ()
    target: str = ""  # name of a function


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages with their estimated length in tokens."""

    messages: tuple[Message, ...]
    tokens: int
    least: int  # tokens without the history
    dropped: int  # lines of history that did not fit


@dataclass(frozen=True, slots=True)
class HistoryLines:
    """Lines of a prompt about earlier experiments."""

    values: Sequence[str]  # as history.values_tried
    trials: Sequence[str]  # as history.line
    dropped: int  # values and trials that are left out
    hints: Sequence[str] = ()
    headings: tuple[str, str] = (history.TRIALS_HEADING, history.VALUES_HEADING)

    def text(self) -> str:
        """Return the section of the prompt."""
        parts = ["## What has been tried\n"]
        if not (self.values or self.trials or self.dropped):
            parts.append("Nothing yet.")
        if self.trials:  # they only grow, while the values change each turn: the server has read them
            parts += [self.headings[0], *self.trials]
        if self.values:
            parts += ["", self.headings[1], *self.values]
        if self.dropped:
            parts.append(f"({self.dropped} older lines left out)")
        return "\n".join([*parts, *self.hints]) + "\n"


def build(
    context: Context,
    form: str,
    *,
    budget: int,
    bytes_per_token: float = BYTES_PER_TOKEN,
    drafted: Sequence[Proposal] = (),
    subject: Subject = Subject(),
) -> Prompt:
    """Build the messages that ask for one change in the format `form`, a key of forms.FORMS or "menu".

    `drafted` are the turn's earlier proposals. Raises ProposerError (`too_long`), with the numbers, when the messages
    exceed `budget` tokens even without history.
    """
    if context.brief is None:
        system = _system(context, form)
    else:
        system = declared.system(context, context.brief, form, budget, bytes_per_token)
    shown, turn = _script(context, form, subject), _turn(context, form, drafted, subject)

    def messages(lines: HistoryLines) -> tuple[Message, ...]:
        user = f"{shown}\n{lines.text()}\n{turn}"
        return {"role": "system", "content": system}, {"role": "user", "content": user}

    def tokens(lines: HistoryLines) -> int:
        return conversation_tokens(messages(lines), bytes_per_token)

    headings = [""] if context.history else []
    least = tokens(HistoryLines(headings, headings, len(context.history), (), _headings(context)))
    room = budget - least
    if room < 0:
        raise ProposerError(
            f"the prompt needs {least} tokens without any history and {max(0, budget)} fit. "
            "Shorten the brief (program.md) or choose a model with a larger context.",
            reason="too_long",
        )
    hints = _fitting_hints(context, min(room, HINT_TOKENS), bytes_per_token)
    room -= estimate("\n".join(hints), bytes_per_token)
    lines = _fitting_history(context, min(room, HISTORY_TOKENS), bytes_per_token, hints)
    return Prompt(messages(lines), tokens(lines), least, lines.dropped)


def _system(context: Context, form: str) -> str:
    """Return the instructions with program.md, and with what the script can use where code may be written."""
    if form == "menu":
        sections = re.split(r"(?m)^(?=## )", context.program)
        brief = "".join(section for section in sections if not _HOW.match(section))
        return f"{INSTRUCTIONS}\n{brief.strip()}\n"
    program = f"{INSTRUCTIONS}\n{context.program.strip()}\n"
    return program if form == "set" else f"{program}\n{api(context)}"


def after_edit_error(
    messages: Sequence[Message], reply: str, error: str, form: str, declared_task: bool = False
) -> tuple[Message, ...]:
    """Continue the conversation with a reply that could not be used and its error."""
    again = _AGAIN_MENU if form == "menu" else _AGAIN_ANY if declared_task else _AGAIN
    request = f"Your answer could not be used:\n{error[:ERROR_CHARS]}\n\nNothing was changed. {again}"
    return _answered(messages, reply or "(empty)", request)


def after_nothing_new(
    messages: Sequence[Message], refused: Sequence[str], entries: Sequence[MenuEntry], form: str
) -> tuple[Message, ...]:
    """Ask again, with what was refused and what is new. The model's own answers are left out: it would repeat them."""
    shown = [entry.title for entry in entries if form == "menu" or not entry.why][:MOST_NEW]
    new = "\n".join(["These are new:", *shown]) if shown else ""
    more = "" if form in ("set", "menu") else " So is a change of the code that was not tried."
    again = "Answer again in the form asked for, with a change that is new."
    told = f"\n{new}{more}" if new or more else ""
    parts = ["## Refused: none of these again", *dict.fromkeys(refused), told, f"\n{again}"]
    return _extended(messages, "\n".join(filter(None, parts)))


def after_other_category(
    messages: Sequence[Message], title: str, category: str, wanted: str, entries: Sequence[MenuEntry]
) -> tuple[Message, ...]:
    """Ask again after a change of another category than the turn's; the model's own answer is left out."""
    shown = [entry.title for entry in entries if entry.category == wanted and not entry.why][:MOST_NEW]
    new = "\n".join(["", "Such changes are:", *shown]) if shown else ""
    return _extended(
        messages,
        f"## Another category\n\n{title}: that is a change of the category {category}. This turn is for one of the "
        f"category {wanted}.{new}\n\nAnswer again in the form asked for, with such a change.",
    )


def _extended(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """Return the messages with more text at the end of the last one, so that a server's prompt cache holds the rest."""
    *first, last = messages
    return (*first, {**last, "content": f"{last['content']}\n{text}\n"})


def after_failure(
    messages: Sequence[Message], reply: str, failure: Failure, declared_task: bool = False
) -> tuple[Message, ...]:
    """Continue the conversation with a change that failed before training, and the end of its traceback or log."""
    detail = failure.detail.strip()[-FAILURE_CHARS:]
    shown = f"\n```\n{detail}\n```" if detail else ""
    what = "it failed" if declared_task else "the script failed before training"
    undone = (
        f"the files are as shown above. {_AGAIN_ANY}" if declared_task else f"the script is as shown above. {_AGAIN}"
    )
    request = (
        f"The change was applied and {what} ({failure.kind}): "
        f"{failure.message[:ERROR_CHARS]}{shown}\n\nThe change was undone; {undone}"
    )
    return _answered(messages, reply, request)


def _answered(messages: Sequence[Message], reply: str, request: str) -> tuple[Message, ...]:
    return (*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": request})


_AGAIN = "Answer again in the form asked for, with all edits, corrected, against the script as shown above."
_AGAIN_ANY = _AGAIN.replace("script", "files")
_AGAIN_MENU = "Answer again with one JSON object, in the form asked for."


def program_warning(program: str, num_ctx: int) -> str | None:
    """Warn the user of a program.md that takes too much of the model's context. Return None if it fits.

    >>> program_warning("x" * 60000, 8192)
    'program.md has about 15000 tokens; 2000 leave enough of a context of 8192 for the script ...'
    """
    tokens, room = estimate(program, 4.0), max(PROGRAM_TOKENS, num_ctx // 5)  # prose has about 4 bytes a token
    if tokens <= room:
        return None
    return (
        f"program.md has about {tokens} tokens; {room} leave enough of a context of {num_ctx} for the script and its "
        "history. Shorten it, or choose a model with a larger context."
    )


def api(context: Context) -> str:
    """Describe what the script can use, with the numbers of the context's task."""
    task = {name: getattr(context.task, name) or "?" for name in ("seq_len", "vocab_size", "budget_s")}
    return API.format(**task)


def _script(context: Context, form: str, subject: Subject) -> str:
    """Show what the format needs: constants, those that a menu changes, a function with what it uses, or the script."""
    names = {edit.name for entry in subject.entries for edit in entry.edits if isinstance(edit, Set)}
    if context.brief is not None:
        return declared.shown(context, form, names)
    if form in ("set", "menu"):
        lines = _constant_lines(context.source, names if form == "menu" else None)
        return f"## The constants of train_mlx.py\n\n```python\n{lines}\n```\n"
    if form == "function":
        return f"## From the script, train_mlx.py\n\n{functions.shown(context.source, subject.target)}"
    return script.shown(context.source, in_order=form == "file")


def _constant_lines(source: str, names: Collection[str] | None = None) -> str:
    """Copy the lines of the constants, or of those in `names`, with their comments, without tables."""
    shown = []
    known = constants.literals(source)
    for name, literal in known.items() if names is None else ((n, t) for n, t in known.items() if n in names):
        found = re.search(rf"^{name}\b[^\n]*", source, re.MULTILINE)
        row = found[0] if found and literal in found[0] else f"{name} = {literal}"
        if len(row) <= LONGEST_CONSTANT:
            shown.append(row)
    return "\n".join(shown)


def _fitting_history(context: Context, room: int, bytes_per_token: float, hints: Sequence[str]) -> HistoryLines:
    """Select the values and trials that fit in `room` tokens.

    Kept trials are included first, then the values, then the other trials, the newest first in each group.
    """
    trials = history.lines(context)
    values = history.values_tried(context.source, context.history, context.sigma_score, context.incumbent_score)
    kept = [i for i, trial in enumerate(context.history) if trial.verdict == "keep"]
    rest = [i for i, trial in enumerate(context.history) if trial.verdict != "keep"]
    wanted = [("trial", i) for i in reversed(kept)]
    wanted += [("value", i) for i in reversed(range(len(values)))]
    wanted += [("trial", i) for i in reversed(rest)]
    chosen: set[tuple[str, int]] = set()
    for kind, i in wanted:
        cost = estimate((values if kind == "value" else trials)[i] + "\n", bytes_per_token)
        if cost > room:
            break
        room -= cost
        chosen.add((kind, i))
    return HistoryLines(
        [row for i, row in enumerate(values) if ("value", i) in chosen],
        [row for i, row in enumerate(trials) if ("trial", i) in chosen],
        len(wanted) - len(chosen),
        hints,
        _headings(context),
    )


def _headings(context: Context) -> tuple[str, str]:
    return history.trials_heading(context), history.values_heading(context)


def _fitting_hints(context: Context, room: int, bytes_per_token: float) -> list[str]:
    """Return as many lines of hints as fit in `room` tokens; empty if only the heading would fit."""
    lines = history.hint_lines(context.hints)
    while lines and estimate("\n".join(["", *lines, ""]), bytes_per_token) > room:
        lines.pop()
    return ["", *lines] if len(lines) > 1 else []


def _turn(context: Context, form: str, drafted: Sequence[Proposal], subject: Subject) -> str:
    """Describe the incumbent, the machine and the turn's directive, and the form of the answer."""
    bpb = f"val_bpb is {context.incumbent_score:.4f}; one run's noise (sigma) is {context.sigma_score:.4f}."
    parts = [
        "## Now\n",
        bpb if context.brief is None else declared.now(context),
        f"The machine: {context.machine}" if context.machine else "",
        *_asked(context.directive, form, subject.entries),
    ]
    if drafted:
        titles = "; ".join(proposal.title for proposal in drafted)
        parts.append(f"Already proposed this turn: {titles}. Propose something else.")
    now = "\n".join(part for part in parts if part)
    menu = choices.listed(subject.entries)
    if context.brief is not None:
        if form == "menu":
            return f"{now}\n\n{declared.menu_form(context, menu)}"
        return f"{now}\n\n## Answer in this form\n\n{declared.answer_form(context, context.brief, form)}"
    if form == "menu":
        return f"{now}\n\n{forms.MENU.format(menu=menu)}"
    body = forms.FORMS[form]
    if form == "function":
        body = body.format(target=subject.target, head=functions.head(context.source, subject.target))
    return f"{now}\n\n## Answer in this form\n\n{forms.HEAD.format(categories=', '.join(CATEGORIES))}{body}"


def _asked(directive: Directive | None, form: str, entries: Sequence[MenuEntry]) -> list[str]:
    """Return what the turn asks for; where there is a menu, nothing that is not on it."""
    if directive is None:
        return []
    wanted = directive.category
    if form != "menu":
        return [directive.text, f"The category has to be {wanted}." if wanted else ""]
    elsewhere = wanted is not None and any(entry.category != wanted for entry in entries)
    return [] if elsewhere or directive.kind in NOT_ON_MENUS else [directive.text]
