"""What a version of the editable file is when versions are compared: the code, and the values of its constants. Pure.

Two sources are the same version where both agree: comments, docstrings, layout and the spelling of a constant do not
count, as in `constants.normalised`. A night asks this of every experiment again and again, so answers are remembered,
and a trial that only set constants is read off its parent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoresearch.candidate import constants
from autoresearch.errors import EditError
from autoresearch.records import Set, Trial

REMEMBERED = 512  # sources, of some 20 KB each


@dataclass(frozen=True, slots=True)
class Version:
    """`structure` is the hash of the code with its constants blanked; `constants` are name -> value."""

    structure: str
    constants: Mapping[str, Any]

    def changed_from(self, other: Version) -> dict[str, Any]:
        """The constants whose values are not `other`'s, with their values here."""
        return {name: value for name, value in self.constants.items() if other.constants.get(name) != value}


@lru_cache(REMEMBERED)
def version(source: str) -> Version:
    """The version that `source` is. What Python cannot read is a version of its own, without constants."""
    try:
        return Version(constants.structure(source), constants.read(source))
    except EditError:
        return Version(hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(), {})


def candidate(trial: Trial) -> Version:
    """The version that `trial` measured."""
    sets = [edit for edit in trial.edits if isinstance(edit, Set)]
    values = version("\n".join(f"{edit.name} = {edit.literal}" for edit in sets)).constants
    before = version(trial.parent_source)
    if not sets or len(sets) < len(trial.edits) or not all(edit.name in values for edit in sets):
        return version(trial.source)
    return Version(before.structure, {**before.constants, **values})
