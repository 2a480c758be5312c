"""Compare two files that `--json` of one benchmark wrote: each number before, after, and their ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cli import Row, parser, table


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each number of the rows that both files have, matched by their texts and whole numbers.

    compare({"rows": [{"T": 256, "s": 2.0}]}, {"rows": [{"T": 256, "s": 1.0}]})
      -> [{"row": "T=256", "number": "s", "old": 2.0, "new": 1.0, "new/old": 0.5}]

    Raises ValueError when the files are of two benchmarks.
    """
    if old.get("benchmark") != new.get("benchmark"):
        raise ValueError(f"these are two benchmarks: {old.get('benchmark')} and {new.get('benchmark')}")
    found, before = [], keyed(old["rows"])
    for key, row in keyed(new["rows"]).items():
        for name, value in row.items():
            was = before.get(key, {}).get(name)
            if isinstance(value, float) and isinstance(was, float):
                ratio = value / was if was else None
                found.append({"row": key, "number": name, "old": was, "new": value, "new/old": ratio})
    return found


def keyed(rows: Sequence[Row]) -> dict[str, Row]:
    """Name each row by its values that are not floats: {"T": 256, "s": 1.0} -> "T=256"."""
    return {" ".join(f"{k}={v}" for k, v in row.items() if not isinstance(v, float)): row for row in rows}


def main(argv: Sequence[str]) -> int:
    options = parser("compare", __doc__)
    options.add_argument("old", type=Path)
    options.add_argument("new", type=Path)
    args = options.parse_args(argv)
    old, new = (json.loads(path.read_text()) for path in (args.old, args.new))
    for name, found in (("old", old), ("new", new)):
        print(f"{name}: {found['machine']}, {found['date']}, {found['command']}")
    print(f"\n{table(compare(old, new))}")
    return 0
