"""Take what a night changed over to the person's own file: `loop.py adopt`.

A night on the profile tiny begins with a small model, and every night with a fit to its machine. Neither is a result,
so only the constants and the code that the night itself changed are taken; the rest stays as the person has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch.candidate import constants
from autoresearch.candidate.pack import unpack
from autoresearch.decide import validation
from autoresearch.errors import EditError, UsageError
from autoresearch.paths import EDITABLE
from autoresearch.record.git import Repository
from autoresearch.record.night import Experiment, Night
from autoresearch.system.invocation import command


@dataclass(frozen=True)
class Adoption:
    """A person's file with a night's changes: `taken` and `left` tell of the constants, name -> (there, here)."""

    source: str
    taken: Mapping[str, tuple[Any, Any]]  # name -> (before, now), in the person's file
    left: Mapping[str, tuple[Any, Any]]  # name -> (in the winner, in the person's file)

    def sentences(self) -> list[str]:
        """Return what a person should know of the constants: those that changed, and those that the night had else."""
        taken = ", ".join(f"{name} {before!r} → {now!r}" for name, (before, now) in self.taken.items())
        left = ", ".join(f"{name} = {here!r} ({there!r} there)" for name, (there, here) in self.left.items())
        return [f"constants changed: {taken}"] * bool(taken) + [
            f"left as they are, since the night only began with other values: {left}"
        ] * bool(left)


def adopted(ours: str, baseline: str, winner: str, branch: str) -> Adoption:
    """Return the person's file `ours` with what differs between baseline and winner of the night on `branch`.

    Raises UsageError where the night changed code, and the person's code is another one than the baseline's.

    From "DEPTH = 8; LR = 1" here, "DEPTH = 4; LR = 1" of the baseline and "DEPTH = 4; LR = 2" of the winner come
    "DEPTH = 8; LR = 2".
    """
    night, there, here = constants.changed(baseline, winner), constants.read(winner), constants.read(ours)
    theirs, mine = constants.literals(winner), constants.literals(ours)
    if constants.structure(winner) == constants.structure(baseline):
        source = _assigned(ours, {name: theirs[name] for name in night})
    elif constants.structure(ours) == constants.structure(baseline):
        source = _assigned(winner, {name: mine[name] for name in there if name not in night and name in mine})
    else:
        raise UsageError(
            f"the night changed code, and the code of your {EDITABLE} is not what the night began with. "
            f"To merge them by hand: git merge {branch}"
        )
    differ = constants.changed(winner, source)
    return Adoption(source, constants.changed(ours, source), {n: both for n, both in differ.items() if n in here})


def merged(repo: Repository, baseline: str, winner: str, branch: str) -> dict[str, bytes]:
    """Return the files of a declared task as HEAD has them, with what differs between baseline and winner.

    Raises UsageError where the person has changed the same lines since, or deleted a file.
    """
    before, after = unpack(baseline), unpack(winner)
    files: dict[str, bytes] = {}
    for path, text in after.items():
        if text == before.get(path):
            continue
        by_hand = f"To merge by hand: git merge {branch}"
        if repo.blob("HEAD", path) is None:
            raise UsageError(f"{path}: the night changed it, and you have none. {by_hand}")
        base, ours = before.get(path, "").encode(), repo.read("HEAD", path)
        found = text.encode() if ours == base else repo.merged(ours, base, text.encode())
        if found is None:
            raise UsageError(f"{path}: the night and you changed the same lines, or adjoining ones. {by_hand}")
        files[path] = found
    return files


def chosen(night: Night, anyway: bool) -> tuple[Experiment, str]:
    """Return the version to adopt and what is known of it: the validated winner, or with `anyway` the last keep.

    Raises UsageError where nothing was kept, and without `anyway` where no gain is proven.
    """
    last, interval, winner = night.incumbent, validation.validated(night), validation.winner_of(night)
    if interval is not None and winner is not None and interval.real:
        return winner, validation.text(night) or ""
    if last is None or last.role == "baseline":
        raise UsageError(f"{night.tag} kept nothing, so there is nothing to adopt")
    if interval is not None:
        why = f"the validation of {night.tag} does not prove a gain: {interval}"
    else:
        why = f"the winner of {night.tag}, #{last.n}, was not validated, and the search's own figure is optimistic"
    if not anyway:
        again = f"loop.py validate --tag {night.tag}"
        raise UsageError(f"{why}. To adopt it all the same, add --anyway; to measure it: {command(again)}")
    return last, why


def _assigned(source: str, literals: Mapping[str, str]) -> str:
    for name, literal in literals.items():
        try:
            source = constants.assign(source, name, literal)
        except EditError as error:
            raise UsageError(f"your {EDITABLE} does not take the night's {name} = {literal}: {error}") from None
    return source
