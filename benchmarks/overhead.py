"""Where the seconds of a night go: reads the journal of a real one.

    uv run benchmarks/overhead.py runs/TAG

Training, evaluation and the proposer are what the night is for; everything else is overhead. A run's parts are the
medians over its runs; what happens between two runs (deciding, journal, git, results, report) is read off the times of
the journal's events, less what the proposer says that it took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch.errors import AutoresearchError
from autoresearch.journal import NAME

WORK = ("training", "evaluation")
MEANING = {
    "startup": "the train child starts, imports, builds the model",
    "warmup": "warm-up steps and one forward pass, undone",
    "training": "the budget",
    "saving": "finite check, checkpoint, fixed logits",
    "evaluation_startup": "the evaluate child starts, restores",
    "evaluation": "scoring and probes",
    "overhead": "the parent: sandbox, folders, hashing",
}


def between_runs(events: list[dict]) -> list[float]:
    """Seconds from the end of a run to the start of the next, less the proposer's own."""
    gaps, end, proposing = [], None, 0.0
    for event in events:
        at = datetime.fromisoformat(event["t"]).timestamp()
        if event["type"] == "measured":
            end, proposing = at, 0.0
        elif event["type"] == "proposed":
            proposing += float(event["proposal"].get("usage", {}).get("seconds", 0.0))
        elif event["type"] == "opened":
            end = None
        elif event["type"] == "started" and end is not None:
            gaps.append(at - end - proposing)
    return gaps


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="runs/TAG of a night")
    path = parser.parse_args().folder / NAME
    try:
        events = [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise AutoresearchError(f"{path} cannot be read: {error}") from None
    runs = [e["measurement"]["seconds"] for e in events if e["type"] == "measured" and e["measurement"].get("val_bpb")]
    if not runs:
        raise AutoresearchError(f"{path} has no complete run")
    print(f"{len(runs)} complete runs; medians in seconds\n\n| part | s | |\n| --- | ---: | --- |")
    total = 0.0
    for part, meaning in MEANING.items():
        median = statistics.median(run.get(part, 0.0) for run in runs)
        total += 0.0 if part in WORK else median
        print(f"| {part.replace('_', ' ')} | {median:.2f} | {meaning} |")
    gap = statistics.median(between_runs(events) or [0.0])
    print(f"| between runs | {gap:.2f} | keep rule, journal, git, results.tsv, report |")
    print(f"\noutside training, evaluation and the proposer: {total + gap:.2f} s a run")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except AutoresearchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
