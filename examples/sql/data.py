"""Make the databases: the orders, a small one for the guard, and one that only the final validation sees."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path.cwd()  # the task's folder, or a run's copy of it
START = datetime(2024, 1, 1)
SECONDS = 3 * 365 * 24 * 3600
DATABASES = {"orders": (200_000, 20_000, 1), "check": (4_000, 1_500, 2), "test": (200_000, 16_000, 3)}


def customers(count: int, rng: random.Random) -> Iterator[tuple]:
    for id_ in range(1, count + 1):
        yield (
            id_,
            f"Customer {id_}",
            rng.choice(["north", "east", "south", "west"]),
            rng.choice(["gold", "silver", None]),
        )


def orders(count: int, buyers: int, rng: random.Random) -> Iterator[tuple]:
    """Yield orders, some of one second, some with an open price: (id, customer_id, placed, status, total_cents)."""
    for id_ in range(1, count + 1):
        buyer = 1 + int(buyers * rng.random() ** 2)  # few customers order much, and many once
        placed = (START + timedelta(seconds=int(SECONDS * rng.random()) // 60 * 60)).isoformat()
        status = rng.choices(["paid", "shipped", "returned", "cancelled"], [2, 6, 1, 1])[0]
        yield id_, buyer, placed, status, None if rng.random() < 0.01 else rng.randrange(500, 50_000)


def make(path: Path, rows: int, buyers: int, seed: int) -> None:
    rng = random.Random(seed)
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as db:
        db.executescript((HERE / "schema.sql").read_text())
        db.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", customers(buyers, rng))
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders(rows, buyers, rng))
    db.close()


def main() -> int:
    (HERE / "data").mkdir(exist_ok=True)
    for name, (rows, buyers, seed) in DATABASES.items():
        make(HERE / "data" / f"{name}.db", rows, buyers, seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
