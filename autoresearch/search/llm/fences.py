"""Find the Markdown fences of a reply and what they hold, in time that grows with the length of the reply. No I/O."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

from autoresearch.candidate.edits import REQUIRED_FUNCTIONS

FENCE = re.compile(r"\s*(?:`{3,}[^`]*|~{3,}[^~]*)")


class Fences:
    """Places of the fences in the lines of a reply."""

    def __init__(self, lines: Sequence[str], is_edit: Callable[[str], object], files: Sequence[str] = ()) -> None:
        """Look for all fences. A fence that holds a line for which `is_edit` is true holds no file.

        `files` are the paths of a declared task, whose files need no functions.
        """
        self.lines, self.files = lines, files
        self._closing = _closing(lines)
        self._edits = [i for i, line in enumerate(lines) if is_edit(line)]
        heads = {name: re.compile(rf"def {name}\b") for name in REQUIRED_FUNCTIONS}
        self._heads = [[i for i, line in enumerate(lines) if head.match(line)] for head in heads.values()]

    def body(self, start: int) -> tuple[Sequence[str], int]:
        """Return the lines inside the fence that opens at `start`, and the number of the line after it."""
        end = self._closing[start]
        return self.lines[start + 1 : end], min(end + 1, len(self.lines))

    def holds_file(self, start: int) -> bool:
        """Return whether the fence that opens at `start` holds a whole version of training's file."""
        return not self.files and self.is_file(start + 1, self._closing[start])

    def holds_edit(self, start: int) -> bool:
        """Return whether an edit begins inside the fence that opens at `start`."""
        return _any_in(self._edits, start + 1, self._closing[start])

    def is_open(self, start: int) -> bool:
        """Return whether no line closes the fence that opens at `start`."""
        return self._closing[start] == len(self.lines)

    def is_file(self, start: int, end: int) -> bool:
        """Return whether the lines define all functions that training's file must have, and hold no edit."""
        return all(_any_in(places, start, end) for places in self._heads) and not _any_in(self._edits, start, end)


def _any_in(places: Sequence[int], start: int, end: int) -> bool:
    """Return whether one of the sorted places is in start..end, end excluded."""
    at = bisect_left(places, start)
    return at < len(places) and places[at] < end


def _closing(lines: Sequence[str]) -> dict[int, int]:
    """Return for each line that may open a fence the line that closes it; the number of lines if none does.

    A fence is closed by a line of the same character alone, at least as many as opened it.
    """
    closing: dict[int, int] = {}
    waiting: dict[str, list[tuple[int, int]]] = {"`": [], "~": []}  # (length, line), the nearest and shortest last
    for at in reversed(range(len(lines))):
        if not FENCE.fullmatch(lines[at]):
            continue
        mark = lines[at].strip()
        length = len(mark) - len(mark.lstrip(mark[0]))
        stack = waiting[mark[0]]
        closing[at] = next((line for size, line in reversed(stack) if size >= length), len(lines))
        if length == len(mark):
            while stack and stack[-1][0] <= length:
                stack.pop()
            stack.append((length, at))
    return closing
