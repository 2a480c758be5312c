"""Show the page to simulated visitors and count the conversions.

    python score.py -> {"rate": 0.0312, "conversions": 624, "visitors": 20000, "given_away": 0.0}

The seed draws the visitors. ui.toml is data; a value that no page can have is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tomllib
from pathlib import Path

import visitors as world

CHOICES = {
    "headline": tuple(world.HEADLINE),
    "button_text": tuple(world.BUTTON),
    "price_display": tuple(world.PRICES),
    "image": tuple(world.IMAGE),
}
RANGES = {
    "button_px": (10, 48),
    "form_fields": (2, 12),
    "reviews": (0, 12),
    "popup_after_s": (0, 90),
    "discount_percent": (0, 40),
    "corner_px": (0, 24),
}
TEST_SEED = 10**9  # added to the seed: visitors that no experiment has


def configuration(path: str = "ui.toml") -> dict:
    """Return a page's configuration. Raise ValueError where it is none."""
    ui = tomllib.loads(Path(path).read_text())
    if ui.keys() != CHOICES.keys() | RANGES.keys():
        raise ValueError(f"unknown or missing: {', '.join(sorted(ui.keys() ^ (CHOICES.keys() | RANGES.keys())))}")
    for name, allowed in CHOICES.items():
        if ui[name] not in allowed:
            raise ValueError(f"{name} = {ui[name]!r}, not one of {', '.join(allowed)}")
    for name, (low, high) in RANGES.items():
        if type(ui[name]) is not int or not low <= ui[name] <= high:
            raise ValueError(f"{name} = {ui[name]!r} is not a whole number from {low} to {high}")
    return ui


def show(ui: dict, count: int, seed: int) -> dict[str, float]:
    rng = random.Random(seed)
    sold = sum(rng.random() < world.chance(ui, world.visitor(rng)) for _ in range(count))
    given = sold / count * world.PRICE * ui["discount_percent"] / 100  # dollars of discount a visitor
    return {"rate": sold / count, "conversions": sold, "visitors": count, "given_away": round(given, 4)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the conversions of ui.toml.")
    parser.add_argument("--visitors", type=int, default=20_000)
    parser.add_argument("--test", action="store_true", help="draw visitors that no experiment has")
    parser.add_argument("--check", action="store_true", help="check the form of ui.toml only")
    options = parser.parse_args()
    seed = int(os.environ.get("AUTORESEARCH_SEED", "0")) + TEST_SEED * options.test
    try:
        ui = configuration()
    except (ValueError, UnicodeDecodeError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    if not options.check:
        print(json.dumps(show(ui, options.visitors, seed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
