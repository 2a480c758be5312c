"""Judge out/queues.json by the labels, which the run cannot read.

    python score.py --labels data/labels/tickets.json -> {"macro_f1": 0.47, "accuracy": 0.49, "cases": [...], ...}

macro_f1 is the mean over the queues of F1 = 2 TP / (2 TP + FP + FN). It is not a mean over tickets; the cases are its
jackknife pseudo-values, n F - (n - 1) F without ticket i, whose mean is F but for a bias of order 1/n, and whose
scatter gives its standard error (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 11).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

QUEUES = ("billing", "delivery", "returns", "account", "technical", "sales")
MOST_BYTES = 1_000_000  # of the answers


def answers(path: Path) -> list[str]:
    """Return what the run wrote."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES} bytes")
    found = json.loads(path.read_bytes())
    if type(found) is not list or not all(queue in QUEUES for queue in found):
        raise ValueError(f"{path} is not a list of queues")
    return found


def f1s(cells: Counter[tuple[str, str]]) -> dict[str, float]:
    """Return each queue's F1 from counts by (true queue, queue that the run chose)."""
    scores = {}
    for queue in QUEUES:
        right = cells[queue, queue]
        wrong = sum(count for (true, chosen), count in cells.items() if (true == queue) != (chosen == queue))
        scores[queue] = 2 * right / (2 * right + wrong) if right else 0.0
    return scores


def macro_f1(cells: Counter[tuple[str, str]]) -> float:
    return sum(f1s(cells).values()) / len(QUEUES)


def judge(labels: list[str], chosen: list[str]) -> dict[str, object]:
    if len(labels) != len(chosen):
        raise ValueError(f"{len(chosen)} queues for {len(labels)} tickets")
    pairs = list(zip(labels, chosen, strict=True))
    cells = Counter(pairs)
    whole, n = macro_f1(cells), len(pairs)
    without = {cell: macro_f1(cells - Counter([cell])) for cell in cells}
    return {
        "macro_f1": whole,
        "accuracy": sum(true == queue for true, queue in pairs) / n,
        "f1": {queue: round(score, 4) for queue, score in f1s(cells).items()},
        "cases": [n * whole - (n - 1) * without[cell] for cell in pairs],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge out/queues.json.")
    parser.add_argument("--labels", default="data/labels/tickets.json")
    labels = json.loads(Path(parser.parse_args().labels).read_text())
    try:
        print(json.dumps(judge(labels, answers(Path("out/queues.json")))))
    except (OSError, ValueError, RecursionError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
