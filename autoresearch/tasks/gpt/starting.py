"""Choose the constants that a night, or a run by hand, starts with: those of the data's profile. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoresearch.candidate import constants
from autoresearch.records import Set

# The constants of train_mlx.py, as it is shipped, that a profile replaces.
SHIPPED: Mapping[str, str] = {
    "DEPTH": "4",
    "ASPECT_RATIO": "64",
    "HEAD_DIM": "128",
    "TOTAL_BATCH_SIZE": "2**14",
    "DEVICE_BATCH_SIZE": "8",
    "WINDOW_PATTERN": '"L"',
    "BIGRAM_ROWS": "0",
}


def starting_edits(source: str, wanted: Mapping[str, str], first: Callable[[], str]) -> list[Set]:
    """Return the edits that give `source` the constants `wanted`, where its values still are the shipped ones.

    A value that a person or an adopted night has changed stays. SHIPPED tells what is shipped; of constants that are
    not in it, `first` does, which returns the oldest version of the file.

    starting_edits("DEPTH = 4\\nHEAD_DIM = 96\\n", {"DEPTH": "2", "HEAD_DIM": "64"}, ...) -> [Set("DEPTH", "2")]
    """
    now, shipped = constants.read(source), constants.read(_assignments(SHIPPED))
    if not wanted.keys() <= shipped.keys():
        shipped = constants.read(first()) | shipped
    new = constants.read(_assignments(wanted))
    return [
        Set(name, literal)
        for name, literal in wanted.items()
        if name in now and now[name] == shipped.get(name) and now[name] != new[name]
    ]


def _assignments(literals: Mapping[str, str]) -> str:
    return "".join(f"{name} = {literal}\n" for name, literal in literals.items())
