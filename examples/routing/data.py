"""Make the tickets, and apart from them the queues that they belong to: a set for the search and one for the test."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tickets import tickets

COUNT = 800  # of each set


def main() -> int:
    parser = argparse.ArgumentParser(description="Make tickets and labels.")
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    Path("data/labels").mkdir(parents=True, exist_ok=True)
    for name, set_seed in (("tickets", 2 * seed), ("test", 2 * seed + 1)):
        made = tickets(COUNT, set_seed)
        Path(f"data/{name}.jsonl").write_text("".join(json.dumps(ticket) + "\n" for _, ticket in made))
        Path(f"data/labels/{name}.json").write_text(json.dumps([queue for queue, _ in made]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
