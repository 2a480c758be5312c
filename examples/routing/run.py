"""Route tickets by router.toml: out/queues.json says which queue each ticket goes to."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path

QUEUES = ("billing", "delivery", "returns", "account", "technical", "sales")
WORD = re.compile(r"[a-z]+")


class Router:
    """The table of keywords and weights. `route({"subject": "My refund", "body": "..."}) -> "returns"`."""

    def __init__(self, table: dict) -> None:
        self.table = table
        self.letters = int(table["letters"])
        self.lists = {queue: {word.lower()[: self.letters] for word in table[queue]} for queue in QUEUES}

    def route(self, ticket: dict[str, str]) -> str:
        votes = {queue: float(self.table[f"{queue}_bias"]) for queue in QUEUES}
        seen: set[str] = set()
        for weight, text in self.parts(ticket):
            for word in WORD.findall(text.lower()):
                word = word[: self.letters]
                vote = weight * (self.table["repeat_weight"] if word in seen else 1.0)
                for queue in QUEUES:
                    votes[queue] += vote * (word in self.lists[queue])
                seen.add(word)
        best = max(QUEUES, key=votes.__getitem__)
        return best if votes[best] >= self.table["min_votes"] else self.table["fallback"]

    def parts(self, ticket: dict[str, str]) -> list[tuple[float, str]]:
        """Return the ticket's lines with the weight of a vote in each."""
        lines = ticket["body"].splitlines() or [""]
        parts = [(self.table["subject_weight"], ticket["subject"]), (self.table["opening_weight"], lines[0])]
        return parts + [(self.table["quoted_weight" if t.startswith(">") else "body_weight"], t) for t in lines[1:]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Route tickets by router.toml.")
    parser.add_argument("--tickets", default="data/tickets.jsonl")
    lines = Path(parser.parse_args().tickets).read_text().splitlines()
    router = Router(tomllib.loads(Path("router.toml").read_text()))
    Path("out").mkdir(exist_ok=True)
    Path("out/queues.json").write_text(json.dumps([router.route(json.loads(line)) for line in lines]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
