"""Check the form of router.toml: the known keys, finite numbers, lists of words. Exit 1 and say what is wrong."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

QUEUES = ("billing", "delivery", "returns", "account", "technical", "sales")
WEIGHTS = ("subject_weight", "opening_weight", "body_weight", "quoted_weight", "repeat_weight")
NUMBERS = (*WEIGHTS, "min_votes", *(f"{queue}_bias" for queue in QUEUES))
LARGEST = 20.0  # of a number, either sign
MOST_LETTERS = 40
MOST_WORDS = 40  # of a list
MOST_BYTES = 6000


def wrong(text: str) -> list[str]:
    """Return what is wrong with a table, an empty list where nothing is."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [f"router.toml is not TOML: {error}"]
    known = {*NUMBERS, *QUEUES, "letters", "fallback"}
    if table.keys() != known:
        return [f"unknown or missing: {', '.join(sorted(table.keys() ^ known))}"]
    bad = [name for name in NUMBERS if not number(table[name])]
    found = [f"{name} = {table[name]!r} is not a number within {LARGEST:g}" for name in bad]
    if type(table["letters"]) is not int or not 1 <= table["letters"] <= MOST_LETTERS:
        found.append(f"letters = {table['letters']!r} is not a whole number from 1 to {MOST_LETTERS}")
    if table["fallback"] not in QUEUES:
        found.append(f"fallback = {table['fallback']!r} is not a queue")
    found += [f"{queue} is not a list of at most {MOST_WORDS} words" for queue in QUEUES if not words(table[queue])]
    return found


def number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def words(value: object) -> bool:
    return type(value) is list and len(value) <= MOST_WORDS and all(type(w) is str and w.isalpha() for w in value)


def main() -> int:
    data = Path("router.toml").read_bytes()
    try:
        found = [f"more than {MOST_BYTES} bytes"] if len(data) > MOST_BYTES else wrong(data.decode())
    except UnicodeDecodeError as error:
        found = [f"router.toml is not text: {error}"]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
