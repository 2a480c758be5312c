"""Read a file of named edits: many variants of one source, each with a name and only what differs.

##### name
Lines about it.
<<<<
old text, which occurs once in the base
====
new text
>>>>
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BLOCK = re.compile(r"^<<<<\n(.*?)\n====\n(.*?)\n?>>>>$", re.DOTALL | re.MULTILINE)
REPEATED = re.compile(r"^(\d+) x (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class NamedEdits:
    about: tuple[str, ...]  # the lines between the name and the first edit
    edits: tuple[tuple[str, str], ...]  # (old text, new text)


def parse(text: str) -> Mapping[str, NamedEdits]:
    """Return the entries by name. In a new text, the line "40 x TEXT" stands for 40 lines TEXT."""
    entries = {}
    for section in text.split("\n##### ")[1:]:
        name, _, body = section.partition("\n")
        blocks = BLOCK.findall(body)
        assert len(blocks) == body.count("<<<<\n"), name
        about = body.partition("<<<<\n")[0].split("\n")
        entries[name] = NamedEdits(
            tuple(line for line in about if line), tuple((old, _repeat(new)) for old, new in blocks)
        )
    return entries


def apply(base: str, edits: Sequence[tuple[str, str]]) -> str:
    """Return the base with each old text, which must occur once in it, replaced by the new one."""
    for old, new in edits:
        assert base.count(old) == 1, f"{base.count(old)} times: {old}"
        base = base.replace(old, new)
    return base


def _repeat(text: str) -> str:
    return REPEATED.sub(lambda found: "\n".join([found[2]] * int(found[1])), text)
