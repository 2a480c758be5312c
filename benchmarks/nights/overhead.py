"""Read the journal of a real night and print where its seconds went, and what the trust in its figures cost.

Training, evaluation and the proposer are what the night is for; everything else is overhead. A run's parts are medians
over its runs. What happens between two runs (deciding, journal, git, results, report) is the time between the journal's
events, less the time that the proposer reports. The second table shows the runs which try nothing new. --quick reads a
made-up journal. With --checkouts, the toy's nights run in several versions of this repository in turns, and their
seconds outside training are compared by the ratios to the first one's.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from autoresearch.errors import AutoresearchError
from autoresearch.paths import JOURNAL
from autoresearch.record.codec import encode
from benchmarks.cli import parser
from testbed.night_builder import NightBuilder

JournalLine = Mapping[str, Any]

WORK = ("training", "evaluation")
MEANING = {
    "startup": "the train child starts, imports, builds the model",
    "warmup": "warm-up steps and one forward pass, undone",
    "training": "the budget",
    "saving": "finite check, checkpoint, fixed logits",
    "evaluation_startup": "judge and model start, the model is restored",
    "evaluation": "scoring and probes",
    "overhead": "the parent: sandbox, folders, hashing",
}


def between_runs(events: Sequence[JournalLine]) -> list[float]:
    """Return the seconds from the end of each run to the start of the next, less the proposer's own."""
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


def at(event: JournalLine) -> float:
    """Return an event's time in seconds since 1970."""
    return datetime.fromisoformat(event["t"]).timestamp()


PURPOSES = {
    "search": "first runs of candidates",
    "baseline": "the baseline, before the search",
    "repeat": "repeats: further runs of candidates before they are judged",
    "incumbent": "re-runs of the incumbent and the baseline",
    "retest": "final validation: the top three again",
    "final": "final validation: baseline and winner, interleaved",
    "again": "runs that were disturbed or cut off, and made again",
}


def by_purpose(events: Sequence[JournalLine]) -> dict[str, tuple[int, float]]:
    """Return runs and seconds, from `started` to the run's end, of each of PURPOSES."""
    baselines = {e["n"] for e in events if e["type"] == "proposed" and e["role"] == "baseline"}
    searched = max((at(e) for e in events if e["type"] in ("proposed", "decided")), default=0.0)
    validated = any(e.get("purpose") == "final" for e in events)
    found = dict.fromkeys(PURPOSES, (0, 0.0))
    begun: JournalLine | None = None
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


def night_s(events: Sequence[JournalLine]) -> float:
    """Return the seconds of all sessions, without the pauses between them."""
    pairs = itertools.pairwise(events)
    return sum(max(0.0, at(late) - at(early)) for early, late in pairs if late["type"] != "opened")


def trust_table(events: Sequence[JournalLine]) -> str:
    """Format what the night's seconds were spent on, and the share of runs that try nothing new."""
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


def read_events(folder: Path) -> list[JournalLine]:
    """Read the journal of runs/TAG. Raises AutoresearchError when it cannot be read."""
    path = folder / JOURNAL
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise AutoresearchError(f"{path} cannot be read: {error.strerror}") from None


def made_up() -> list[JournalLine]:
    """Return the events of a night that never ran: two experiments and a final validation."""
    made = NightBuilder()
    for n in (1, 2):
        made.propose("candidate", made.events[1]["proposal"], made.sources[0], 1.6)
        made.run(n, "search", "repeat")
        made.run(0, "incumbent")
        made.decide(n, "discard")
    made.run(0, "final")
    made.run(1, "final")
    return [json.loads(encode(event)) for event in made.events]


def parts_table(events: Sequence[JournalLine]) -> str:
    """Format the medians of a run's parts. Raises AutoresearchError when there is no complete run."""
    runs = [e["measurement"]["seconds"] for e in events if e["type"] == "measured" and e["measurement"].get("score")]
    if not runs:
        raise AutoresearchError("the night has no complete run")
    lines, total = [f"{len(runs)} complete runs; medians in seconds\n", "| part | s | |", "| --- | ---: | --- |"], 0.0
    for part, meaning in MEANING.items():
        median = statistics.median(run.get(part, 0.0) for run in runs)
        total += 0.0 if part in WORK else median
        lines.append(f"| {part.replace('_', ' ')} | {median:.2f} | {meaning} |")
    gap = statistics.median(between_runs(events) or [0.0])
    lines.append(f"| between runs | {gap:.2f} | keep rule, journal, git, results.tsv, report |")
    return "\n".join([*lines, f"\noutside training, evaluation and the proposer: {total + gap:.2f} s a run"])


TOY_NIGHT = """\
import io, os, sys, tempfile
from pathlib import Path
sys.path.insert(0, os.getcwd())
from autoresearch.loop import session
from autoresearch.records import Set
from autoresearch.report.console import PlainView
from testbed.scripted import Scripted
from testbed.toy import make_repository, write_toy_data
with tempfile.TemporaryDirectory() as scratch:
    os.environ["AUTORESEARCH_CACHE"] = scratch + "/cache"
    write_toy_data(Path(scratch) / "cache/data/toy/tiny")
    root = make_repository(Path(scratch) / "repository")
    options = session.Options(tag="toy", dataset="toy", profile="tiny", time_budget_s=1.0, experiments=2)
    ideas = Scripted(*[(f"Nothing {i}", (Set("WIDTH", str(33 + i)),)) for i in range(2)])
    with session.open_night(root, options, PlainView(io.StringIO()), lambda facts: ideas) as research:
        research.run()
    sys.stdout.write((root / "runs/toy/journal.jsonl").read_text())
"""


def outside_training(events: Sequence[JournalLine]) -> float:
    """Return the median seconds of a run outside its training, from `started` to its end."""
    found, begun = [], 0.0
    for event in events:
        if event["type"] == "started":
            begun = at(event)
        elif event["type"] == "measured":
            found.append(at(event) - begun - (event["measurement"].get("training_s") or 0.0))
    return statistics.median(found)


def compared(checkouts: Sequence[Path], rounds: int) -> str:
    """Run the toy's night in each checkout in turns, and format seconds and ratios."""
    seconds: list[list[float]] = []
    for turn in range(rounds):
        made = {}
        for checkout in checkouts if turn % 2 == 0 else checkouts[::-1]:
            done = subprocess.run(
                [sys.executable, "-c", TOY_NIGHT], cwd=checkout, env={**os.environ, "MLX_DISABLE_COMPILE": "1"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            made[checkout] = outside_training([json.loads(line) for line in done.stdout.splitlines()])
        seconds.append([made[checkout] for checkout in checkouts])
    lines = ["| checkout | s a run outside training | ratio to the first, by round |", "| --- | ---: | --- |"]
    for i, checkout in enumerate(checkouts):
        ratios = [row[i] / row[0] for row in seconds]
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        median = statistics.median(row[i] for row in seconds)
        lines.append(f"| {checkout.name} | {median:.2f} | {statistics.median(ratios):.2f} ({listed}) |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    options = parser("nights overhead", __doc__)
    options.add_argument("folder", type=Path, nargs="?", help="runs/TAG of a night")
    options.add_argument("--checkouts", type=Path, nargs="+", metavar="FOLDER", help="versions of this repository")
    options.add_argument("--rounds", type=int, default=4, help="nights of each checkout")
    args = options.parse_args(argv)
    if args.checkouts:
        print(compared([path.resolve() for path in args.checkouts], args.rounds))
        return 0
    if args.folder is None and not args.quick:
        options.error("name the folder of a night: runs/TAG")
    events = made_up() if args.quick else read_events(args.folder)
    print(f"{parts_table(events)}\n\n{trust_table(events)}")
    return 0
