"""Make a task's base: the fixed files of its folder with what `prepare` makes of them, once for all runs.

STATE/base/KEY/         the files; KEY is a hash of the folder's fixed files
STATE/base/KEY.done     written when `prepare` has ended well
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import TaskError
from autoresearch.files import write_atomic
from autoresearch.formats import span
from autoresearch.paths import TASK_FILE
from autoresearch.record.gitcall import call
from autoresearch.records import Say
from autoresearch.system.invocation import command
from autoresearch.tasks.command import checks, declaration, tree
from autoresearch.tasks.command.command_words import PYTHON, named_files
from autoresearch.tasks.command.confined import Call, Confinement, execute
from autoresearch.tasks.command.declaration import Problem, refuse
from autoresearch.tasks.command.globs import matching
from autoresearch.tasks.command.keys import Declaration, words

IDEAS = "ideas"
MAKING_S = 24 * 3600  # that a base may take to be made
KEPT_S = 30 * 24 * 3600  # of a base that is not opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A task's fixed files on disk, and the editable ones as the folder has them."""

    declared: Declaration
    folder: Path
    edited: Mapping[str, bytes]  # path -> content, the main file first
    programs: frozenset[str]  # of the editable files, those that can be executed
    hidden: frozenset[str]
    shown_last: frozenset[str]
    fingerprint: str


def read_text(folder: Path, revision: str | None) -> str:
    """Return the text of a folder's task.toml, in a commit or as it is now. Raises TaskError, with a remedy."""
    file, place = folder / TASK_FILE, shlex.quote(str(folder))
    there = file.is_file()
    if revision is None:
        content = file.read_bytes() if there else None
    else:
        done = call(folder, ("cat-file", "blob", f"{revision}:./{TASK_FILE}"), check=False)
        content = done.raw if done.returncode == 0 else None
        if content is None and call(folder, ("cat-file", "-e", f"HEAD:./{TASK_FILE}"), check=False).returncode == 0:
            raise TaskError(f"{revision} has no {TASK_FILE} of {folder}. Begin at a commit that has one, such as HEAD")
        if content is None and there:
            begin = "" if tree.in_repository(folder) else f"git -C {place} init && "
            how = f"{begin}git -C {place} add . && git -C {place} commit -m task"
            raise TaskError(f"{file} is not committed, and a night works on what is. Run: {how}")
    if content is None:
        raise TaskError(f"{folder} has no {TASK_FILE}. Run: {command(f'loop.py new-task {place}')}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{file} is not UTF-8 text: byte {error.start}. Save it as UTF-8") from None


def make(folder: Path, state: Path, revision: str | None, text: str, around: Confinement, say: Say) -> Base:
    """Return the base of a folder as of a commit, or as it is now; `prepare` runs unless it did for the same files.

    Raises TaskError, with the lines of task.toml, for a declaration that does not fit the folder.
    """
    declared, bases = declaration.read(text), state / "base"
    bases.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=bases) as scratch:
        made = Path(scratch) / "files"
        _copy(folder, revision, made)
        paths = tree.files_below(made)
        refuse(text, checks.before_preparing(declared, folder, paths))
        edited = {path: paths[path].read_bytes() for path in matching(declared.edit, paths)}
        refuse(text, checks.knob_problems(declared, edited))
        programs = frozenset(path for path in edited if os.access(paths[path], os.X_OK))
        for path in edited:
            paths[path].unlink()
        key = tree.digest(made, _unjudged(declared, paths))[:16]
        base, done = bases / key, bases / f"{key}.done"
        if not done.exists():
            shutil.rmtree(base, ignore_errors=True)
            made.rename(base)
            _prepare(declared, base, bases / f"{key}.tmp", around, text, say)
            write_atomic(done, b"")
    os.utime(done)
    _forget_old(bases)
    fixed = tree.files_below(base)
    if made_anew := sorted(edited.keys() & fixed.keys()):
        what = f"`prepare` makes {made_anew[0]}, which candidates edit: a run has the committed one"
        refuse(text, [Problem(("prepare",), what, "Let it write other files, or take that one out of `edit`")])
    refuse(text, checks.after_preparing(declared, [*edited, *fixed]))
    hidden = frozenset(matching(declared.hidden, fixed))
    return Base(
        declared=declared,
        folder=base,
        edited=edited,
        programs=programs,
        hidden=hidden,
        shown_last=frozenset(_shown_last(declared, hidden)),
        fingerprint=tree.digest(base, _unjudged(declared, fixed))[:16],
    )


def _copy(folder: Path, revision: str | None, into: Path) -> None:
    into.mkdir(parents=True)
    if revision is None:
        tree.copy_files(folder, tree.working_files(folder), into)
    else:
        tree.export(folder, revision, into)


def _forget_old(bases: Path) -> None:
    """Remove the bases of other versions of the folder that nobody has opened for KEPT_S, and what a kill left."""
    for made in bases.glob(".making-*"):
        if time.time() - made.stat().st_mtime > MAKING_S:
            shutil.rmtree(made, ignore_errors=True)
    for done in bases.glob("*.done"):
        if time.time() - done.stat().st_mtime > KEPT_S:
            shutil.rmtree(done.with_suffix(""), ignore_errors=True)
            done.unlink(missing_ok=True)


def _prepare(declared: Declaration, base: Path, scratch: Path, around: Confinement, text: str, say: Say) -> None:
    if not declared.prepare.strip():
        return
    say(f"preparing: {declared.prepare}")
    first, *rest = words(declared.prepare)
    argv = [sys.executable, *rest] if first in PYTHON else [first, *rest]
    env = {"PYTHONSAFEPATH": ""}
    limit_s = declared.prepare_timeout_s
    log = base.with_suffix(".log")
    ended = execute(
        Call(argv=argv, cwd=base, scratch=scratch, log=log, limit_s=limit_s, write=(base,), env=env), around
    )
    shutil.rmtree(scratch, ignore_errors=True)
    if not ended.ok:
        shutil.rmtree(base, ignore_errors=True)
        detail = f"\n{ended.detail}" if ended.detail else ""
        what = f"`{declared.prepare}` {ended.how}; its log is {log}"
        refuse(text, [Problem(("prepare",), what, f"Mend it and start again{detail}")])
    say(f"prepared in {span(ended.wall_s or 0)}")


def _unjudged(declared: Declaration, paths: Mapping[str, Path]) -> set[str]:
    """Return the files that a value cannot depend on: what people and models are told."""
    return {declared.brief, *matching([f"{IDEAS}/", "README*", ".gitignore"], paths)}


def _shown_last(declared: Declaration, hidden: frozenset[str]) -> list[str]:
    """Return the hidden files that the final validation's run sees: those that it names, and those of `show`."""
    if declared.test is None:
        return []
    named = named_files(declared.test.run, hidden) if declared.test.run else []
    return [*named, *matching(declared.test.show, hidden)]
