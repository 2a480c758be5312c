"""An outside agent as a proposer: a command that edits a copy of the file in a scratch folder of its own.

The folder holds train_mlx.py (the incumbent, to be edited in place), program.md, HISTORY.md and PROMPT.md; the prompt
also comes on standard input. What the command leaves in train_mlx.py is the proposal. TITLE:, HYPOTHESIS: and CATEGORY:
lines are read from NOTE.md, else from what it prints. The command runs with the person's rights, as typed by them.
"""

from __future__ import annotations

import difflib
import re
import shlex
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from autoresearch.candidate import constants, edits, syntax
from autoresearch.candidate.versions import version
from autoresearch.errors import CommandError, EditError, ProposerError, SourceError, UsageError
from autoresearch.formats import counted
from autoresearch.records import (
    CATEGORIES,
    HYPOTHESIS_CHARS,
    TITLE_CHARS,
    Context,
    Edit,
    Failure,
    Proposal,
    Set,
    WholeFile,
)
from autoresearch.search import history
from autoresearch.search.llm import prompt, replies
from autoresearch.search.proposer import BaseProposer
from autoresearch.system import process

FILE, NOTE, PROMPT, HISTORY, PROGRAM = "train_mlx.py", "NOTE.md", "PROMPT.md", "HISTORY.md", "program.md"
TIMEOUT_S = 1200.0  # an agent on a local model reads the file, thinks and edits
TOLD_CHARS = 2000  # of what a failed command printed
MOST_BYTES = 200_000  # of an edited file: more is no training script

TASK = """\
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
MEND = """\
## The last change failed before training

{file} holds that change, "{title}". It failed ({kind}): {message}

{detail}

Mend it in place.
"""

_FIELD = re.compile(r"^\W*(TITLE|HYPOTHESIS|CATEGORY)\W*:\s*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # a terminal's colours


class Command(BaseProposer):
    """records.Proposer by an outside command, one proposal a run."""

    name = "command"

    def __init__(self, command: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """`command` is a program with arguments, quoted as for a shell, but run without one.

        Raises UsageError where it cannot be read or there is no such program.
        """
        try:
            self.argv = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--command {command!r} cannot be read: {error}") from error
        if not self.argv:
            raise UsageError("--command is empty. Give a program and its arguments, e.g. --command 'claude -p'")
        if shutil.which(self.argv[0]) is None:
            raise UsageError(f"--command: there is no program {self.argv[0]!r} on the PATH")
        self.timeout_s = timeout_s

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """One proposal. Raises ProposerError where the command fails, runs too long, or leaves no usable change."""
        return [self._run(context, context.source, _task(context))]

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """The command again, on the failed change and with the reason; None where that brings nothing."""
        detail = failure.detail.strip()[-prompt.FAILURE_CHARS :]
        told = {"title": proposal.title, "kind": failure.kind, "message": failure.message, "detail": detail}
        try:
            broken = edits.apply(context.source, proposal.edits)
            mended = self._run(context, broken, _task(context) + "\n" + MEND.format(file=FILE, **told))
        except (EditError, ProposerError):
            return None
        return replace(mended, title=proposal.title, hypothesis=proposal.hypothesis, category=proposal.category)

    def _run(self, context: Context, source: str, task: str) -> Proposal:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="autoresearch-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            for file, text in ((FILE, source), (PROGRAM, context.program), (HISTORY, _tried(context)), (PROMPT, task)):
                (folder / file).write_text(text, encoding="utf-8")
            printed = self._call(folder, task)
            changed, note = _read(folder / FILE), _read(folder / NOTE, missing="")
        usage = {"seconds": time.monotonic() - started}
        try:
            change = _edits(context.source, source, changed)
        except (SourceError, EditError) as error:
            raise ProposerError(f"{self.argv[0]}: {error}", reason="unusable", usage=usage) from error
        told = {**_fields(printed), **_fields(note)}
        title = told.get("title") or _last_line(note) or _last_line(printed) or _summary(context.source, changed)
        hypothesis, category = told.get("hypothesis", ""), replies.category(told.get("category", ""))
        return Proposal(change, title[:TITLE_CHARS], hypothesis[:HYPOTHESIS_CHARS], category, self.name, usage)

    def _call(self, folder: Path, task: str) -> str:
        """What the command prints. It runs in a process group of its own, which the time limit ends as a whole."""
        try:
            return process.run(self.argv, cwd=folder, input=task, timeout=self.timeout_s).stdout
        except CommandError as error:
            reason = "timeout" if error.returncode == 124 else "command"
            said = _ESCAPES.sub("", "\n".join(s.strip() for s in (error.stderr, error.stdout) if s.strip()))
            line = f"{self.argv[0]} exited with {error.returncode}: {_last_line(said) or 'it said nothing'}"
            usage = {"seconds": self.timeout_s} if reason == "timeout" else {}
            raise ProposerError(line, reason=reason, usage=usage, detail=said[-TOLD_CHARS:]) from error


def _task(context: Context) -> str:
    names = {"file": FILE, "program": PROGRAM, "history": HISTORY, "note": NOTE}
    facts = {name: context.task.get(name, "?") for name in ("seq_len", "vocab_size", "budget_s")}
    return TASK.format(
        **names,
        categories=", ".join(CATEGORIES),
        api=prompt.API.format(**facts),
        bpb=context.incumbent_bpb,
        sigma=context.sigma_bpb,
        machine=context.machine,
        directive=context.directive.text if context.directive else "",
    )


def _tried(context: Context) -> str:
    """HISTORY.md: the values tried for each constant, then every experiment in a line, then what others found."""
    elsewhere = "\n".join(history.hinted_numbers(context.hints, context.source))
    if not context.history:
        return f"Nothing has been tried yet.\n{elsewhere}"
    values = history.values_tried(context.source, context.history, context.sigma_bpb)
    lines = [history.line(trial, context.sigma_bpb) for trial in context.history]
    table = [f"Values of constants ({history.LEGEND}):", *values, ""] if values else []
    head = "Experiments, oldest first (s: sigmas better than the script of that time):"
    return "\n".join([*table, head, *lines, elsewhere]) + "\n"


def _read(path: Path, missing: str | None = None) -> str:
    """A file the command left. Raises ProposerError where it is gone, or is no text of a sensible size."""
    if missing is not None and not path.is_file():
        return missing
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ProposerError(f"the command left {path.name} with over {MOST_BYTES} bytes", reason="unusable")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProposerError(f"the command left no readable {path.name}: {error}", reason="unusable") from error


def _edits(incumbent: str, given: str, changed: str) -> tuple[Edit, ...]:
    """The change: SET edits where only constants differ, else the whole file. Raises SourceError and EditError."""
    syntax.parse(changed)
    if version(changed) == version(given):
        raise EditError(f"{FILE} was left as it was")
    whole = (WholeFile(changed),)
    edits.apply(incumbent, whole)
    literals = constants.literals(changed)
    sets = tuple(Set(name, literals[name]) for name in constants.changed(incumbent, changed) if name in literals)
    try:
        same = bool(sets) and version(edits.apply(incumbent, sets)) == version(changed)
    except EditError:  # a constant of another type, or a new one
        same = False
    return sets if same else whole


def _fields(text: str) -> dict[str, str]:
    """TITLE:, HYPOTHESIS: and CATEGORY: lines, the last of each: agents think aloud before they conclude."""
    found = _FIELD.findall(_ESCAPES.sub("", text))
    return {name.lower(): line for name, value in found if (line := replies.plain_line(value, HYPOTHESIS_CHARS))}


def _last_line(text: str) -> str:
    lines = [replies.plain_line(line, TITLE_CHARS) for line in _ESCAPES.sub("", text).splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _summary(old: str, new: str) -> str:
    """ "7 lines changed": where the command says nothing."""
    marks = [line[0] for line in difflib.ndiff(old.splitlines(), new.splitlines())]
    count = max(marks.count("+"), marks.count("-"))
    return f"{counted(count, 'line')} changed"
