"""Check a person's version of the editable file before anything is measured, and fit it to the night: `loop.py try`.

A copy of the checkout's file holds the constants of the profile mac and none of those that the night has kept. A
constant that the person has not changed follows the night, so that only what was changed is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import texts
from autoresearch.candidate import constants
from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import EditError, SourceError, UsageError
from autoresearch.files import is_clutter
from autoresearch.paths import EDITABLE, Layout
from autoresearch.record import journal
from autoresearch.record.git import Repository, branch_name
from autoresearch.tasks.gpt import contract

MOST_BYTES = 2**20  # of a file that is read at all
MOST_FILES = 500  # of a folder that are read
SHOWN = 12  # of the constants that a line names


@dataclass(frozen=True)
class OwnFile:
    """A person's version, and the version that it was made from: the file as the checkout has it committed."""

    source: str
    made_from: str

    def fitted(self, best: str) -> str:
        """Return the version with the night's value of each constant that the person has not changed.

        >>> OwnFile("DEPTH = 8\\nLR = 0.02\\n", "DEPTH = 8\\nLR = 0.01\\n").fitted("DEPTH = 4\\nLR = 0.03\\n")
        'DEPTH = 4\\nLR = 0.02\\n'
        """
        return _assigned(self.source, self.followed(best))

    def followed(self, best: str) -> dict[str, str]:
        """Return the constants that follow the night, with the source text of their values there."""
        mine, theirs, tree = _read(self.source), constants.literals(best), _read(self.made_from)
        differ = constants.changed(self.source, best) if mine else {}
        same = [n for n in differ if n in mine and n in theirs and repr(tree.get(n)) == repr(mine[n])]
        return {name: theirs[name] for name in same if _assignable(self.source, name, theirs[name])}


def read(root: Path, file: Path) -> OwnFile:
    """Read a person's version. Raises UsageError where it cannot be read."""
    return OwnFile(_text(file), texts.source(Repository.at(root).read("HEAD", EDITABLE), EDITABLE))


def files(place: Path) -> dict[str, str]:
    """Return the files of a folder, or one file, by their path there. Raises UsageError where one cannot be read."""
    if not place.is_dir():
        return {place.name: _text(place)}
    found = sorted(path for path in place.rglob("*") if path.is_file() and not is_clutter(path.name))
    return {path.relative_to(place).as_posix(): _text(path) for path in found[:MOST_FILES]}


def placed(own: Mapping[str, str], best: str, place: Path, folder: Path) -> str:
    """Return the night's best version of a declared task with a person's files `own` in the places of its own.

    A single file may have only the name of one of them, or any name where the task has one file of that ending; but not
    the place of another file of the task's `folder`. Raises UsageError where none of them is a file of the task.
    """
    theirs = unpack(best)
    found = {path: text for path, text in own.items() if path in theirs}
    if not found and len(own) == 1:
        (name, text), *_ = own.items()
        named = [path for path in theirs if Path(path).name == name]
        if not named and not _is_fixed(place, folder):
            named = [path for path in theirs if Path(path).suffix == Path(name).suffix] if len(theirs) == 1 else []
        found = {named[0]: text} if len(named) == 1 else {}
    if not found:
        raise UsageError(f"{place} holds no file of the task, whose files are {', '.join(theirs)}")
    return pack({**theirs, **found})


def _is_fixed(file: Path, folder: Path) -> bool:
    """Return whether a file is one that git has in a folder."""
    if not file.resolve().is_relative_to(folder.resolve()):
        return False
    path = file.resolve().relative_to(folder.resolve()).as_posix()
    return Repository.at(folder).blob("HEAD", path) is not None


def _text(file: Path) -> str:
    if not file.is_file():
        raise UsageError(
            f"{file} cannot be read: there is no such file" if not file.exists() else f"{file} is not a file"
        )
    if file.stat().st_size > MOST_BYTES:
        raise UsageError(f"{file} has {file.stat().st_size:,} bytes; a version has at most {MOST_BYTES:,}")
    try:
        return texts.source(file.read_bytes(), str(file))
    except (OSError, SourceError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None


def expected_best(root: Path, tag: str, made_from: str, profile: Mapping[str, str]) -> str:
    """Return the night's best version; before there is one, what a night begins with, not yet fitted to the machine.

    `profile` are the starting constants of the profile that is asked for.
    """
    layout = Layout(root, tag)
    night = journal.read(layout)
    if night.incumbent is not None:
        return journal.read_source(layout, night.incumbent)
    known = constants.literals(made_from)
    return _assigned(made_from, {name: literal for name, literal in profile.items() if name in known})


def refusal(source: str, best: str, file: Path) -> str | None:
    """Return why a version cannot be measured, by its syntax and the contract; None where it can.

    Raises UsageError where it computes what the night's best version computes.
    """
    if found := contract.check(source, best):
        return "contract: " + "; ".join(str(violation) for violation in found[:5])
    if constants.normalised(source) == constants.normalised(best):
        raise UsageError(f"{file} computes what the night's best version computes: there is nothing to measure")
    return None


def differences(own: OwnFile, measured: str, best: str, tag: str) -> list[str]:
    """Return lines for the person: which constants follow the night, and what differs from its best version."""
    lines = []
    if followed := own.followed(best):
        shown = _listed([f"{name} = {literal}" for name, literal in followed.items()])
        lines.append(f"taken from the night, since you have not changed them: {shown} (--as-is keeps yours)")
    differ = constants.changed(best, measured)
    shown = _listed([f"{name} {_value(a)} → {_value(b)}" for name, (a, b) in differ.items()])
    lines.append(f"constants that differ from the night's best: {shown or 'none'}")
    if constants.structure(best) not in (constants.structure(own.made_from), constants.structure(measured)):
        how = f"git show {branch_name(tag)}:{EDITABLE}"
        lines.append(f"the night has kept changes of code, which your file may lack. Its best version: {how}")
    return lines


def _assigned(source: str, literals: Mapping[str, str]) -> str:
    for name, literal in literals.items():
        source = constants.assign(source, name, literal)
    return source


def _read(source: str) -> Mapping[str, Any]:
    try:
        return constants.read(source)
    except SourceError:  # `refusal` says so of the person's version; what is committed need not be valid
        return {}


def _assignable(source: str, name: str, literal: str) -> bool:
    try:
        constants.assign(source, name, literal)
    except EditError:
        return False
    return True


def _value(value: Any) -> str:
    return "absent" if value is None else repr(value)


def _listed(parts: list[str]) -> str:
    rest = len(parts) - SHOWN
    return ", ".join(parts[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
