"""Whose fault a failed run is, by what MLX and Metal say: the candidate's, the machine's, or nobody knows."""

from __future__ import annotations

import re
from dataclasses import replace

from autoresearch.records import Failure

MACHINE_FAILURE = re.compile(
    r"Caused GPU Timeout|Impacting Interactivity|Resource limit"
    r"|Command buffer execution failed(?!.*Insufficient Memory)"
)
MEMORY_FAILURE = re.compile(
    r"Insufficient Memory|\[metal::malloc\]|maximum allowed buffer size|Unable to allocate|std::bad_alloc|MemoryError"
    r"|cudaErrorMemoryAllocation|out of memory",
    re.IGNORECASE,
)
KNOWN = {"memory", "disk", "machine", "overrun", "late", "diverged", "slow"}  # kinds that say whose fault it is


def classify(failure: Failure) -> Failure:
    """Recognises memory and machine failures by MLX's messages, wherever they surfaced."""
    if failure.kind in KNOWN or failure.kind.startswith("probe"):
        return failure
    text = f"{failure.message}\n{failure.detail}"
    if MACHINE_FAILURE.search(text):
        return replace(failure, kind="machine")
    if MEMORY_FAILURE.search(text):
        return replace(failure, kind="memory")
    return failure
