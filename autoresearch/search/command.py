"""Let an outside agent propose: run a command that edits copies of the editable files in a temporary folder.

The folder holds train_mlx.py or the files of a declared task (the incumbent's, to be edited in place), program.md,
HISTORY.md and PROMPT.md (agent_folder.py); the prompt is also passed on standard input. The edited files are the
proposal, whatever the command's exit code. Its TITLE:, HYPOTHESIS: and CATEGORY: lines are read from NOTE.md, else from
the command's output. The command runs as the user
typed it, with the user's rights; when it ends, so do the processes that it has started.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from autoresearch.candidate import constants, edits, syntax
from autoresearch.candidate.pack import is_packed, pack, unpack
from autoresearch.candidate.versions import version
from autoresearch.errors import CommandError, EditError, ProposerError, SourceError, UsageError
from autoresearch.formats import counted
from autoresearch.paths import EDITABLE
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
from autoresearch.search import agent_folder
from autoresearch.search.llm import fields
from autoresearch.search.proposer import BaseProposer
from autoresearch.system import process

TIMEOUT_S = 1200.0  # for an agent on a local model that reads the file, thinks and edits
DETAIL_CHARS = 2000  # of the output of a failed command that are kept
MOST_BYTES = 200_000  # of a file that the command leaves
LOG_BYTES = 400_000  # of the command's output

_FIELD = re.compile(r"\W*(TITLE|HYPOTHESIS|CATEGORY)[^\w:]*:(.*\S.*)", re.IGNORECASE)  # of one line
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # a terminal's colours


class CommandProposer(BaseProposer):
    """Proposer that runs an outside command for each proposal."""

    name = "command"

    def __init__(
        self, command: str, *, timeout_s: float = TIMEOUT_S, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Split `command`, a program with arguments that are quoted as for a shell. No shell runs it.

        `say` gets a line when a command fails after a usable change. Raises UsageError when the command cannot be split
        or there is no such program.
        """
        try:
            self.argv = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--command {command!r} cannot be read: {error}") from error
        if not self.argv:
            raise UsageError("--command is empty. Give a program and its arguments, e.g. --command 'claude -p'")
        if shutil.which(self.argv[0]) is None:
            raise UsageError(f"--command: there is no program {self.argv[0]!r} on the PATH")
        self.timeout_s, self.say = timeout_s, say

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return one proposal. Raises ProposerError if the command fails, runs too long, or leaves no usable change."""
        return [self._run(context, context.source, agent_folder.task(context))]

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Run the command on the failed change, with the reason of the failure. Return None if that fails, too."""
        try:
            broken = edits.apply(context.source, proposal.edits)
            mended = self._run(context, broken, agent_folder.mend(context, proposal, failure))
        except (EditError, ProposerError):
            return None
        return replace(mended, title=proposal.title, hypothesis=proposal.hypothesis, category=proposal.category)

    def _run(self, context: Context, source: str, task: str) -> Proposal:
        """Run the command on `source` and return its result as a change of the incumbent."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="autoresearch-", ignore_cleanup_errors=True) as name:
            folder = Path(name) / "work"
            folder.mkdir()
            texts, own = agent_folder.texts(context, source, task), agent_folder.names(context)
            for file, text in texts.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(text, encoding="utf-8")
            ended = self._call(folder, folder / own.prompt)
            try:
                changed, note = _source(folder, source), _note(folder / own.note)
                _check_added(folder, source, changed)
                change = _edits(context.source, source, changed)
            except (SourceError, EditError) as error:
                raise self._unusable(ended, error, time.monotonic() - started) from error
        usage = {"seconds": time.monotonic() - started}
        if ended.code:
            usage["exit_code"] = float(ended.code)
            self.say(f"{ended.line(self.argv[0])}; its change is complete and is tried all the same")
        told = {**_fields(ended.printed), **_fields(note)}
        title = told.get("title") or _last_line(note) or _last_line(ended.printed) or _summary(context.source, changed)
        categories = context.brief.categories if context.brief else CATEGORIES
        hypothesis, category = told.get("hypothesis", ""), fields.named_category(told.get("category", ""), categories)
        return Proposal(change, title[:TITLE_CHARS], hypothesis[:HYPOTHESIS_CHARS], category, self.name, usage)

    def _call(self, folder: Path, prompt: Path) -> _Ended:
        """Run the command in `folder` to its end, then end what it has left running.

        Raises ProposerError when it cannot be started, and at the time limit.
        """
        log = folder.parent / "log"
        env = dict(os.environ)
        try:
            child = process.Child(
                self.argv, cwd=folder, env=env, log_path=log, log_limit_bytes=LOG_BYTES, stdin=prompt,
                limit_s=self.timeout_s,
            )  # fmt: skip
        except CommandError as error:
            raise ProposerError(f"{self.argv[0]}: {error.stderr}", reason="command") from error
        with child:
            code = child.wait()
        printed = _ESCAPES.sub("", log.read_text(encoding="utf-8", errors="replace"))
        if child.stopped:
            raise ProposerError(
                f"{self.argv[0]} had not ended after {self.timeout_s:g} s",
                reason="timeout", usage={"seconds": self.timeout_s}, detail=printed.strip()[-DETAIL_CHARS:],
            )  # fmt: skip
        return _Ended(code or 0, printed)

    def _unusable(self, ended: _Ended, why: Exception, seconds: float) -> ProposerError:
        """Return the error of a command that left no usable change: its own failure if it failed, else the reason."""
        usage = {"seconds": seconds}
        if ended.code:
            line, detail = ended.line(self.argv[0]), ended.printed.strip()[-DETAIL_CHARS:]
            return ProposerError(line, reason="command", usage=usage, detail=detail)
        return ProposerError(f"{self.argv[0]}: {why}", reason="unusable", usage=usage)


@dataclass(frozen=True, slots=True)
class _Ended:
    """Exit code of a command and what it has printed."""

    code: int
    printed: str

    def line(self, program: str) -> str:
        """Return one line for a person: "claude exited with 1: no credit"."""
        return f"{program} exited with {self.code}: {_last_line(self.printed) or 'it said nothing'}"


def _source(folder: Path, given: str) -> str:
    """Read the edited files of the source that was given. Raises EditError as `_text` does."""
    if not is_packed(given):
        return _text(folder / EDITABLE)
    return pack({path: _text(folder / path) for path in unpack(given)})


def _check_added(folder: Path, given: str, changed: str) -> None:
    """Raise EditError where the edited files name a file that the command added, since a version cannot have it.

    Other files that it left, such as a note or a cache, are ignored.
    """
    endings = {PurePosixPath(path).suffix for path in agent_folder.files(given)}
    known = set(re.findall(r"\w+", given))
    named = set(re.findall(r"\w+", changed)) - known
    for path in sorted(folder.rglob("*")):
        if path.stem in named and path.suffix in endings and path.is_file():
            name = path.relative_to(folder).as_posix()
            raise EditError(f"it added {name}, and a version has no other files than before: put it into one of them")


def _text(path: Path) -> str:
    """Read an edited file. Raises EditError when it is not a text of at most MOST_BYTES."""
    data = _read(path)
    if len(data) > MOST_BYTES:
        raise EditError(f"it left {path.name} with over {MOST_BYTES} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise EditError(f"it left no readable {path.name}: {error}") from error


def _note(path: Path) -> str:
    """Read the beginning of the note as far as it can be read; an empty text if there is none."""
    try:
        data = _read(path)[:MOST_BYTES]
    except EditError:
        return ""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")


def _read(path: Path) -> bytes:
    """Return the first MOST_BYTES + 1 bytes of a regular file. Raises EditError for any other: a pipe has no end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise EditError(f"it left no readable {path.name}: it is not a regular file")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise EditError(f"it left no readable {path.name}: {error}") from error


def _edits(incumbent: str, given: str, changed: str) -> tuple[Edit, ...]:
    """Return the change as SET edits if only constants differ, else as the whole files that differ.

    Raises SourceError when training's file is not Python, and EditError when nothing was changed or it does not apply.
    """
    files = agent_folder.files(changed)
    if not is_packed(changed):
        syntax.parse(changed)
    if version(changed) == version(given):
        told = "were left as they were" if len(files) > 1 else "was left as it was"
        raise EditError(f"{', '.join(files)} {told}")
    before = agent_folder.files(incumbent)
    whole = tuple(
        WholeFile(text, path if is_packed(changed) else None) for path, text in files.items() if text != before[path]
    )
    edits.apply(incumbent, whole)
    literals = constants.literals(changed)
    sets = tuple(Set(name, literals[name]) for name in constants.changed(incumbent, changed) if name in literals)
    try:
        same = bool(sets) and version(edits.apply(incumbent, sets)) == version(changed)
    except EditError:  # a constant of another type, or a new one
        same = False
    return sets if same else whole


def _fields(text: str) -> dict[str, str]:
    """Return the last TITLE:, HYPOTHESIS: and CATEGORY: lines of a text; an agent may think aloud before them."""
    found = [match.groups() for line in _ESCAPES.sub("", text).splitlines() if (match := _FIELD.fullmatch(line))]
    return {name.lower(): line for name, value in found if (line := fields.plain_line(value, HYPOTHESIS_CHARS))}


def _last_line(text: str) -> str:
    """Return the last line that is not blank, or an empty text."""
    lines = reversed(_ESCAPES.sub("", text).splitlines())
    return next((found for line in lines if line.strip() and (found := fields.plain_line(line, TITLE_CHARS))), "")


def _summary(old: str, new: str) -> str:
    """Return a title for a change without one: "7 lines changed"."""
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    return f"{counted(sum(max(i2 - i1, j2 - j1) for _, i1, i2, j1, j2 in changes), 'line')} changed"
