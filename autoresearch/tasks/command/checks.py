"""Compare what task.toml declares with the folder: its globs, programs, and what a candidate could change or see."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from autoresearch.candidate import constants
from autoresearch.candidate.declared_values import values_text
from autoresearch.candidate.pack import pack
from autoresearch.errors import EditError
from autoresearch.formats import shortened
from autoresearch.paths import TASK_FILE
from autoresearch.tasks.command.command_words import PYTHON, named_files, programs, script_of
from autoresearch.tasks.command.declaration import Problem
from autoresearch.tasks.command.globs import matches, matching
from autoresearch.tasks.command.keys import Declaration, words
from autoresearch.tasks.command.toml_lines import TomlPath
from autoresearch.tasks.command.tree import LEFT_OUT, OUT


def before_preparing(declared: Declaration, folder: Path, files: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with a folder that holds `files`, before anything is run."""
    yield from _edit_problems(declared, folder, files)
    yield from _link_problems(declared, folder, files)
    if "brief" in declared.model_fields_set and declared.brief not in files:
        yield Problem(("brief",), f"there is no file {declared.brief}", "Write it: it tells a model what to try")
    for path, command in declared.commands.items():
        yield from _program_problems(declared, path, command, folder, files)


def after_preparing(declared: Declaration, files: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong once everything that `prepare` makes is there as well."""
    tested = declared.test.hide if declared.test else ()
    for where, patterns in ((("read",), declared.read), (("hide",), declared.hide), (("test", "hide"), tested)):
        for i, pattern in enumerate(patterns):
            if not matching([pattern], files):
                yield _nothing((*where, i), pattern, files)
    hidden = set(matching(declared.hidden, files))
    for i, pattern in enumerate(declared.test.show if declared.test else ()):
        if not matching([pattern], hidden):
            yield Problem(("test", "show", i), f"`{pattern}` is not hidden", "Leave it out: a run sees it in any case")
    for key, patterns in (("edit", declared.edit), ("read", declared.read)):
        for i, pattern in enumerate(patterns):
            if shown := hidden & set(matching([pattern], files)):
                yield Problem(
                    (key, i), f"{min(shown)} is hidden and stands in `{key}` too", "Take it out of one of them"
                )
    for key, command in (("build", declared.build), ("run", declared.run)):
        if command and (named := named_files(command, hidden)):
            what = f"`{key}` needs {named[0]}, which is hidden from it"
            yield Problem((key,), what, "Hide another file, or name it in [test] alone")


def knob_problems(declared: Declaration, edited: Mapping[str, bytes]) -> Iterator[Problem]:
    """Yield the knobs that no editable file has as a constant or a key."""
    source = pack({path: content.decode("utf-8", "replace") for path, content in edited.items()})
    known = constants.read(source)
    for knob, values in declared.knobs.items():
        name = knob.partition("[")[0]
        try:
            found = constants.named(source, name) in known
        except EditError as error:
            yield Problem(("knobs", knob), f"the knob {name} is ambiguous: {error}", "Write path:name")
            continue
        if not found:
            near = get_close_matches(name, known, n=3, cutoff=0.5) or list(known)[:5]
            mend = f"There are {', '.join(near) or 'none'}: constants of Python, keys of TOML and JSON"
            yield Problem(("knobs", knob), f"no editable file has a constant {name}", mend)
        elif not _has_kind(value := known[constants.named(source, name)], values):
            what = f"{knob} may be {values_text(values)}, and is {shortened(repr(value), 40)}"
            yield Problem(("knobs", knob), what, "Declare values of its kind")


def _has_kind(value: Any, values: Sequence[Any]) -> bool:
    """Return whether a value, or an element of it, is of the kind of one of others: numbers, texts, switches."""
    elements = value if isinstance(value, list | tuple) else [value]
    return not {_kind(element) for element in elements}.isdisjoint(map(_kind, values))


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _edit_problems(declared: Declaration, folder: Path, files: Collection[str]) -> Iterator[Problem]:
    for i, pattern in enumerate(declared.edit):
        found = matching([pattern], files)
        if not found:
            yield _nothing(("edit", i), pattern, files)
        for path in found:
            if any(p.is_symlink() for p in [folder / path, *_parents(folder, path)]):
                yield Problem(("edit", i), f"{path} is a link", "Name the file that it leads to")
            elif path in (TASK_FILE, declared.brief) or matches(OUT, path):
                yield Problem(("edit", i), f"{path} cannot be edited by a candidate", "Name other files, one by one")
    editable = set(matching(declared.edit, files))
    for where, command in declared.judging.items():
        for path in [path for path in programs(command, files) if path in editable]:
            what = f"`{command}` runs {path}, which a candidate may change"
            mend = "Take the file out of `edit`: what judges is never edited"
            if where[0] == "guard":
                mend += "; or write candidate = true, so that the guard sees what a candidate sees"
            yield Problem(where, what, mend)


def _link_problems(declared: Declaration, folder: Path, files: Collection[str]) -> Iterator[Problem]:
    """Yield the linked folders that would stand in the way of a run's own files, or show it what is hidden."""
    for i, pattern in enumerate(declared.link):
        parts, own = PurePosixPath(pattern).parts, matching([pattern], files)
        overlaps = [other for other in declared.link[:i] if matches(other, pattern) or matches(pattern, other)]
        if not (folder / pattern).is_dir():
            yield Problem(("link", i), f"there is no folder {pattern}", "Make it, for instance by installing packages")
        elif not parts or own or parts[0] in LEFT_OUT:
            what = f"{pattern} holds {own[0]}, which git has" if own else f"{pattern} holds what is the loop's"
            yield Problem(("link", i), what, "Link folders that git does not have: of the others a run has a copy")
        elif overlaps:
            yield Problem(("link", i), f"{pattern} and {overlaps[0]} overlap", "Name the outer one alone")


def _program_problems(
    declared: Declaration, where: TomlPath, command: str, folder: Path, files: Collection[str]
) -> Iterator[Problem]:
    first = words(command)[0]
    script = script_of(command)
    made = bool(declared.prepare or declared.build) and where != ("prepare",)
    if script is not None and script not in files and not made:
        what = f"`{command}` runs {script}, and git has no such file here"
        yield Problem(where, what, f"Write it and add it: git add {script}")
    if first in PYTHON:
        return
    if "/" in first:
        own = first.removeprefix("./")
        linked = any(matches(link, own) for link in declared.link) and (folder / first).exists()
        elsewhere = Path(first).is_absolute() and Path(first).is_file()
        if not (linked or made or elsewhere or own in files):
            yield Problem(where, f"there is no program {first}", "Name one that is there, or one below `link`")
    elif shutil.which(first) is None:
        yield Problem(where, f"the program `{first}` is not installed", "Install it, or name another")


def _nothing(path: TomlPath, pattern: str, files: Iterable[str]) -> Problem:
    near = sorted(files, key=lambda name: (PurePosixPath(name).suffix != PurePosixPath(pattern).suffix, name))[:4]
    return Problem(path, f"`{pattern}` matches no file that git has here", f"There are {', '.join(near) or 'none'}")


def _parents(folder: Path, path: str) -> list[Path]:
    return [folder / parent for parent in PurePosixPath(path).parents if str(parent) != "."]
