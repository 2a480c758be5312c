"""Print the true macro-F1 of router.toml: over so many tickets of the same world that chance is gone (+-0.001).

python truth.py router.toml [other.toml ...]
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

from run import Router
from score import macro_f1
from tickets import tickets

COUNT = 100_000
SEED = 10**6  # no set of data.py has it


def truth(tables: list[dict], count: int = COUNT) -> list[float]:
    """Return the true macro-F1 of each table."""
    made = tickets(count, SEED)
    routers = [Router(table) for table in tables]
    return [macro_f1(Counter((queue, router.route(ticket)) for queue, ticket in made)) for router in routers]


def main() -> int:
    paths = sys.argv[1:] or ["router.toml"]
    for path, value in zip(paths, truth([tomllib.loads(Path(p).read_text()) for p in paths]), strict=True):
        print(f"{path}: {value:.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
