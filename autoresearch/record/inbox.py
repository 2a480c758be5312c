"""Keep hypotheses from outside in runs/TAG/inbox, a file each, until the loop has taken them into the journal.

`loop.py serve` writes the files, and the loop looks for them between two experiments. What becomes of a hypothesis is
in the journal, as `proposed` or `refused` with its id, before its file is removed. So a kill at any moment neither
loses one nor tries one twice.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import EditError
from autoresearch.files import write_atomic
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.paths import Layout
from autoresearch.records import Edit, Proposal

NAME = re.compile(r"[\w-]{1,100}", re.ASCII)
MOST_WAITING = 100  # hypotheses that `serve` takes and lists
PROPOSER = "inbox"  # of a hypothesis whose author gives no name


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """An idea from outside, as its author sent it: edits to the incumbent of the moment at which it is tried."""

    id: str
    received: float  # POSIX seconds
    title: str
    hypothesis: str
    category: str  # one of records.CATEGORIES
    edits: tuple[Edit, ...]
    author: str = ""

    def proposal(self) -> Proposal:
        """Return the hypothesis as the loop tries it."""
        proposer = f"{PROPOSER}: {self.author}" if self.author else PROPOSER
        return Proposal(self.edits, self.title, self.hypothesis, self.category, proposer, inbox_id=self.id)


def post(layout: Layout, hypothesis: Hypothesis) -> None:
    """Put a hypothesis into the inbox; it is on the disk when this returns. Raises OSError."""
    write_atomic(_path(layout, hypothesis.id), to_json(hypothesis))


def waiting(layout: Layout) -> list[str]:
    """Return the ids of the hypotheses whose files are in the inbox, the oldest first.

    Folders, pipes and names of other characters than those of an id are no hypotheses.
    """
    found: list[tuple[int, str]] = []
    with contextlib.suppress(OSError), os.scandir(layout.inbox) as entries:
        for entry in entries:
            id = entry.name.removesuffix(".json")
            if id != entry.name and NAME.fullmatch(id) and entry.is_file():
                found.append((entry.stat(follow_symlinks=False).st_mtime_ns, id))
    return [id for _, id in sorted(found)]


def read(layout: Layout, id: str) -> Hypothesis | None:
    """Return a hypothesis that waits in the inbox; None where there is none with this id.

    Raises EditError where its file is damaged or cannot be read.
    """
    try:
        hypothesis = from_json(Hypothesis, _path(layout, id).read_bytes())
    except FileNotFoundError:
        return None
    except MalformedError as error:
        raise EditError(f"the hypothesis {id} cannot be read: {error}") from None
    except OSError as error:
        raise EditError(f"the hypothesis {id} cannot be read: {error.strerror}") from None
    if hypothesis.id != id:
        raise EditError(f"the hypothesis {id} says that it is {hypothesis.id}")
    return hypothesis


def remove(layout: Layout, id: str) -> None:
    """Remove the file of a hypothesis that the journal knows; one that cannot be removed does no harm."""
    with contextlib.suppress(OSError):
        _path(layout, id).unlink()


def _path(layout: Layout, id: str) -> Path:
    return layout.inbox / f"{id}.json"
