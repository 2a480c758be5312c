"""Print the true conversion rate of ui.toml: the mean chance over so many visitors that chance is gone (+-0.0001).

python truth.py ui.toml [other.toml ...]
"""

from __future__ import annotations

import random
import sys

import visitors as world
from score import configuration

COUNT = 300_000
SEED = -1  # no run has it


def truth(pages: list[dict], count: int = COUNT) -> list[float]:
    """Return the true rate of each page. All pages are shown to the same visitors."""
    rng = random.Random(SEED)
    people = [world.visitor(rng) for _ in range(count)]
    return [sum(world.chance(ui, who) for who in people) / count for ui in pages]


def main() -> int:
    paths = sys.argv[1:] or ["ui.toml"]
    for path, rate in zip(paths, truth([configuration(path) for path in paths]), strict=True):
        print(f"{path}: {rate:.5f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
