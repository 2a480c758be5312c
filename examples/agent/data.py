"""Make the questions and, apart from them, the right answers; note which model answers here.

The questions are a warehouse's: counts, units, dates and stock. A model server that answers now (an OpenAI-compatible
one: AUTORESEARCH_AGENT_URL, or Ollama's own address) is the model of the whole night; else it is the scripted one.
"""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import model

COUNT = 96  # of each set
WAREHOUSE = "anchor bolt candle drill elbow flange gasket hinge jack kettle lantern mallet nail pulley rivet saw"
ITEMS = WAREHOUSE.split()
UNITS = {  # (given, wanted): factor
    ("miles", "km"): 1.609344,
    ("inches", "cm"): 2.54,
    ("pounds", "kg"): 0.45359237,
    ("gallons", "litres"): 3.785411784,
}


def count(rng: random.Random, _: dict) -> tuple[str, str]:
    boxes, each, broken = rng.randint(12, 89), rng.randint(12, 89), rng.randint(11, 99)
    item = rng.choice(ITEMS)
    text = f"A truck brings {boxes} boxes of {each} {item}s each. {broken} {item}s are broken. How many are left?"
    return text, str(boxes * each - broken)


def price(rng: random.Random, _: dict) -> tuple[str, str]:
    each, number, percent = rng.randint(12, 95), rng.randint(12, 60), rng.choice([5, 15, 20, 25, 30])
    item = rng.choice(ITEMS)
    text = f"{number} {item}s cost {each} dollars each, less {percent} percent. What is the price of all, in dollars?"
    return text, f"{number * each * (100 - percent) / 100:g}"


def unit(rng: random.Random, _: dict) -> tuple[str, str]:
    (given, wanted), factor = rng.choice(list(UNITS.items()))
    value = rng.randint(12, 480) / 2
    return f"How many {wanted} are {value:g} {given}? Round to one decimal.", f"{value * factor:.1f}"


def day(rng: random.Random, _: dict) -> tuple[str, str]:
    start, days = date(2026, 1, 1) + timedelta(rng.randrange(330)), rng.randint(20, 120)
    text = f"A parcel that is sent on {start} takes {days} days. On which date does it arrive?"
    return text, str(start + timedelta(days))


def stock(rng: random.Random, stocks: dict[str, int]) -> tuple[str, str]:
    item, sold = rng.choice(ITEMS), rng.randint(11, 99)
    return f"We sell {sold} {item}s of those in stock. How many {item}s are then in stock?", str(stocks[item] - sold)


def questions(seed: int, stocks: dict[str, int]) -> list[tuple[str, str]]:
    """Return questions with their answers, a fifth of each kind."""
    rng = random.Random(seed)
    kinds = [count, price, unit, day, stock]
    return [kinds[i % len(kinds)](rng, stocks) for i in range(COUNT)]


def main() -> int:
    Path("data/labels").mkdir(parents=True, exist_ok=True)
    stocks = {item: random.Random(item).randint(120, 990) for item in ITEMS}
    Path("data/stock.json").write_text(json.dumps(stocks, indent=1))
    for name, seed in (("questions", 1), ("holdout", 2)):
        made = questions(seed, stocks)
        Path(f"data/{name}.jsonl").write_text("".join(json.dumps(question) + "\n" for question, _ in made))
        Path(f"data/labels/{name}.json").write_text(json.dumps([right for _, right in made]))
    Path("data/model.json").write_text(json.dumps(model.found()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
