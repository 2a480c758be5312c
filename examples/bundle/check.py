"""Check that the page looks and works as before: index.html with assets/ against original/. Exit 1 where not.

Looks: every element, hovered or not, under every media condition, is given the same values of the same properties.
Works: app.js is the same program but for layout, comments, names of its own, and functions that nothing calls.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import script
import style

SHORT = 2  # characters of a new name: longer ones could be one of the browser's own


def looks_differ(before: str, after: str, html: str) -> str | None:
    """Say which element looks different, None where none does."""
    page = style.Page(html)
    page.add("li", {}, page.by_id("list"))  # app.js adds one for each tea
    old, new = style.rules(before), style.rules(after)
    conditions = sorted({rule.media for rule in [*old, *new] if rule.media})
    if len(conditions) > 4:
        return f"{len(conditions)} media conditions"
    for count in range(len(conditions) + 1):
        for media in map(frozenset, combinations(conditions, count)):
            for hovered in (False, True):
                was, is_now = (style.computed(sheet, page, media, hovered) for sheet in (old, new))
                for key in sorted(was.keys() | is_now.keys()):
                    if was.get(key) != is_now.get(key):
                        changed = set(was.get(key, {}).items()) ^ set(is_now.get(key, {}).items())
                        return f"<{page.elements[key[0]].tag}>{key[1]} looks different: {sorted(changed)[0]}"
    return None


def works_differ(before: str, after: str) -> str | None:
    """Say how a script does something else, None where it does the same."""
    if long := [name for name in script.new_names(after, before) if len(name) > SHORT]:
        return f"app.js has the new name {min(long)}: at most {SHORT} characters"
    old, new = script.form(before), script.form(after)
    if old == new:
        return None
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return f"app.js does something else near: {' '.join(new[max(0, at - 4) : at + 4])}"


def main() -> int:
    def read(path: str) -> str:
        return Path(path).read_bytes().decode()

    try:
        html = read("index.html")
        found = [
            looks_differ(read("original/style.css"), read("assets/style.css"), html),
            works_differ(read("original/app.js"), read("assets/app.js")),
        ]
    except (style.Unknown, script.Unknown, UnicodeDecodeError, ValueError, IndexError) as error:
        found = [f"not understood: {error}"]
    wrong = [line for line in found if line]
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
