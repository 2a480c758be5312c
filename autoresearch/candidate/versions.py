"""Identify a version of the editable files by their code and the values of their constants. No I/O.

Two sources are the same version when both agree; comments, docstrings, layout and the spelling of a constant do not
count. The search policy, the tuner and the prompt compare every experiment of a night again at each turn, so results
are cached, and the version of a trial that only set constants is derived from its parent's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoresearch.candidate import constants
from autoresearch.candidate.pack import is_packed
from autoresearch.errors import SourceError
from autoresearch.records import Set, Trial

CACHED = 512  # sources, of some 20 KB each


@dataclass(frozen=True, slots=True)
class Version:
    """Identity of a source: a hash of the code with its constants blanked, and the constants by name."""

    structure: str
    constants: Mapping[str, Any]

    def changed_from(self, other: Version) -> dict[str, Any]:
        """Return the constants whose values differ from `other`'s, with their values here."""
        return {name: value for name, value in self.constants.items() if other.constants.get(name) != value}


@lru_cache(CACHED)
def version(source: str) -> Version:
    """Return the version of `source`. A text that is not valid Python is a version of its own, without constants."""
    try:
        return Version(constants.structure(source), constants.read(source))
    except SourceError:
        return Version(hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(), {})


def trial_version(trial: Trial) -> Version:
    """Return the version of `trial.source`; without parsing it where the trial only set constants of its parent."""
    if is_packed(trial.source):
        return version(trial.source)
    sets = [edit for edit in trial.edits if isinstance(edit, Set)]
    values = version("\n".join(f"{edit.name} = {edit.literal}" for edit in sets)).constants
    parent = version(trial.parent_source)
    if not sets or len(sets) < len(trial.edits) or not all(edit.name in values for edit in sets):
        return version(trial.source)
    return Version(parent.structure, {**parent.constants, **values})
