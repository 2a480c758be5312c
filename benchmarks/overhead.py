"""Where the seconds of a night go: reads the journal of a real one.

    uv run benchmarks/overhead.py runs/TAG

Training, evaluation and the proposer are what the night is for; everything else is overhead. A run's parts are the
medians over its runs; what happens between two runs (deciding, journal, git, results, report) is read off the times of
the journal's events, less what the proposer says that it took. Below stands what the trust in the figures cost: the
seconds and the share of the night that went to runs which try nothing new.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch.errors import AutoresearchError
from autoresearch.paths import JOURNAL

Event = Mapping[str, Any]

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


def between_runs(events: Sequence[Event]) -> list[float]:
    """Seconds from the end of a run to the start of the next, less the proposer's own."""
    gaps, end, proposing = [], None, 0.0
    for event in events:
        now = at(event)
        if event["type"] == "measured":
            end, proposing = now, 0.0
        elif event["type"] == "proposed":
            proposing += float(event["proposal"].get("usage", {}).get("seconds", 0.0))
        elif event["type"] == "opened":
            end = None
        elif event["type"] == "started" and end is not None:
            gaps.append(now - end - proposing)
    return gaps


def at(event: Event) -> float:
    return datetime.fromisoformat(event["t"]).timestamp()


PURPOSES = {
    "search": "first runs of candidates",
    "baseline": "the baseline, before the search",
    "repeat": "confirmation: further runs of candidates before they are judged",
    "incumbent": "controls: the incumbent and the baseline again",
    "retest": "final validation: the top three again",
    "final": "final validation: baseline and winner, interleaved",
    "again": "runs that were disturbed or cut off, and made again",
}


def by_purpose(events: Sequence[Event]) -> dict[str, tuple[int, float]]:
    """Runs and seconds, from `started` to the run's end, of each of PURPOSES."""
    baselines = {e["n"] for e in events if e["type"] == "proposed" and e["role"] == "baseline"}
    searched = max((at(e) for e in events if e["type"] in ("proposed", "decided")), default=0.0)
    validated = any(e.get("purpose") == "final" for e in events)
    found = dict.fromkeys(PURPOSES, (0, 0.0))
    begun: Event | None = None
    for event in events:
        if event["type"] == "started":
            begun = event
        elif event["type"] in ("measured", "abandoned") and begun is not None:
            purpose = begun["purpose"]
            if event["type"] == "abandoned":
                purpose = "again"
            elif begun["n"] in baselines and purpose in ("search", "repeat"):
                purpose = "baseline"
            elif purpose == "incumbent" and validated and at(begun) > searched:
                purpose = "retest"
            runs, seconds = found[purpose]
            found[purpose] = runs + 1, seconds + at(event) - at(begun)
            begun = None
    return found


def night_s(events: Sequence[Event]) -> float:
    """Seconds of all sessions, without the pauses between them."""
    pairs = itertools.pairwise(events)
    return sum(max(0.0, at(late) - at(early)) for early, late in pairs if late["type"] != "opened")


def trust_table(events: Sequence[Event]) -> str:
    total, found = night_s(events), by_purpose(events)
    rows = [(PURPOSES[key], runs, s) for key, (runs, s) in found.items() if runs]
    rows.append(("between runs: ideas, decisions, records", "", total - sum(s for _, s in found.values())))
    lines = [f"| {what} | {runs} | {s:.0f} | {s / total:.0%} |" for what, runs, s in rows]
    trust_s = sum(s for key, (_, s) in found.items() if key not in ("search", "baseline"))
    return "\n".join(
        [
            f"a night of {total:.0f} s\n",
            "| spent on | runs | s | share |",
            "| --- | ---: | ---: | ---: |",
            *lines,
            f"\nfor the trust, all runs but the first of each candidate and of the baseline: {trust_s / total:.0%}",
        ]
    )


def read_events(folder: Path) -> list[Event]:
    """The journal of runs/TAG. Raises AutoresearchError where it cannot be read."""
    path = folder / JOURNAL
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise AutoresearchError(f"{path} cannot be read: {error}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="runs/TAG of a night")
    folder = parser.parse_args().folder
    events = read_events(folder)
    runs = [e["measurement"]["seconds"] for e in events if e["type"] == "measured" and e["measurement"].get("val_bpb")]
    if not runs:
        raise AutoresearchError(f"{folder} has no complete run")
    print(f"{len(runs)} complete runs; medians in seconds\n\n| part | s | |\n| --- | ---: | --- |")
    total = 0.0
    for part, meaning in MEANING.items():
        median = statistics.median(run.get(part, 0.0) for run in runs)
        total += 0.0 if part in WORK else median
        print(f"| {part.replace('_', ' ')} | {median:.2f} | {meaning} |")
    gap = statistics.median(between_runs(events) or [0.0])
    print(f"| between runs | {gap:.2f} | keep rule, journal, git, results.tsv, report |")
    print(f"\noutside training, evaluation and the proposer: {total + gap:.2f} s a run\n")
    print(trust_table(events))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except AutoresearchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
