"""Run the examples' nights as a stranger does, and print what they found and how far it can be believed.

Each is a command: the nights themselves, from a fresh clone; nights in which no candidate changes anything; and how
often the interval of the validation covers the truth, where an example knows it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoresearch.decide import cases, counts, estimates, validation
from autoresearch.decide.interval import Interval
from autoresearch.loop.commands.night import NOT_REAL
from autoresearch.metrics import Metric
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal
from autoresearch.record.night import Night
from autoresearch.records import Measurement
from autoresearch.tasks.command import declaration
from autoresearch.tasks.command.keys import metric_of
from benchmarks.cli import Row, parser, report, run_one
from testbed import examples
from testbed.toy import ROOT, git

EXPERIMENTS = {"sql": 8, "routing": 12, "tests": 10, "bundle": 8, "lighthouse": 8, "agent": 10, "ab": 14, "any": 12}
TAG = "night"

TEAS = "// Fills the page: a banner, and a card for each tea."
SALES = 'sales = ["price", "offer", "order", "buy"'

# A change that changes nothing: (file, its line, the line in its place; {n} and {letter} tell the ideas apart). Where a
# run scatters, the line stays, so that each applies after another was kept by chance.
NULLS = {
    "sql": ("query.sql", "SELECT c.region,", "-- {letter}\nSELECT c.region,"),
    "routing": ("router.toml", f"{SALES}]", f'{SALES}, "zz{{letter}}"]'),
    "tests": ("suite/conftest.py", "import time", "import time\n\nUNUSED = '{letter}'"),
    "agent": ("agent.py", "import re", "import re\n\nUNUSED = '{letter}'"),
    "ab": ("ui.toml", "", "SET corner_px = {n}"),
    "any": ("model.py", "import math", "import math\n\nUNUSED = '{letter}'"),
    "bundle": (
        "assets/style.css",
        "/* Teahouse: the style of the whole site.",
        "/* Teahouse: {letter}he style of the whole site.",
    ),
    "lighthouse": ("site/app.js", TEAS, f"{TEAS}\n// {{letter}}"),
}


def main(argv: Sequence[str] | None = None) -> int:
    commands = {"nights": nights, "nulls": nulls, "coverage": coverage}
    return run_one("examples", commands, sys.argv[2:] if argv is None else argv)


# --- nights -----------------------------------------------------------------------------------------------------------


def nights(argv: Sequence[str]) -> int:
    """A night of each example and its validation, from a fresh clone."""
    args = _arguments("examples nights", nights.__doc__, argv)
    rows = [_night(name, 1 if args.quick else EXPERIMENTS[name]) for name in args.examples]
    return report(rows, args)


def _night(name: str, experiments: int) -> Row:
    with _clone() as clone:
        began = time.monotonic()
        _loop(clone, name, "--experiments", str(experiments), ok=(0, 1))  # 1: no ideas are left
        searched_s = time.monotonic() - began
        _loop(clone, name, ok=(0, NOT_REAL), first="validate")
        minutes = (time.monotonic() - began) / 60
        night = _read(clone, name)
    return {**_told(name, night), "search s": round(searched_s), "minutes": f"{minutes:.1f}"}


def _told(name: str, night: Night) -> Row:
    metric = estimates.metric_of(night)
    kept = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    tried = [x for x in night.decided if x.role == "candidate"]
    baseline, winner, found = validation.baseline_of(night), validation.winner_of(night), validation.validated(night)
    now = estimates.read(night)
    return {
        "example": name,
        "metric": f"{metric.name}, {metric.trust}",
        "kept of tried": f"{len(kept)} of {len(tried)}",
        "baseline": metric.shown(now.estimate(baseline).mean) if baseline else None,
        "winner": metric.shown(now.estimate(winner).mean) if winner else None,
        "the search claims": metric.signed(_claim(night)),
        "on what was hidden": _text(found),
    }


def _claim(night: Night) -> float:
    """Return the winner's gain by the search's own figures."""
    now, baseline = estimates.read(night), validation.baseline_of(night)
    winner = validation.winner_of(night)
    return now.estimate(baseline).mean - now.estimate(winner).mean if baseline and winner else 0.0


def _text(found: Interval | None) -> str | None:
    if found is None:
        return None
    metric = found.metric
    if found.low_score == found.high_score:
        return f"{metric.signed(found.gain_score)}, exact"
    low, high = metric.signed(found.low_score), metric.signed(found.high_score)
    return f"{metric.signed(found.gain_score)} ({low} to {high})"


# --- nights without anything to find ----------------------------------------------------------------------------------


def nulls(argv: Sequence[str]) -> int:
    """An A/A night of each example: eight changes that change nothing."""
    args = _arguments("examples nulls", nulls.__doc__, argv, known=list(NULLS))
    return report([_null_night(name, 1 if args.quick else 8) for name in args.examples], args)


def _null_night(name: str, experiments: int) -> Row:
    with _clone() as clone:
        folder = clone / "examples" / name
        for path in (folder / "ideas").glob("*.txt"):
            path.unlink()
        for n in range(experiments):
            (folder / "ideas" / f"{n:02}-null.txt").write_text(_null(name, n + 5))
        git(clone, "add", "-A")
        git(clone, "commit", "-q", "-m", "Try what changes nothing")
        _loop(clone, name, "--experiments", str(experiments), "--proposer", "ideas")
        _loop(clone, name, ok=(0, NOT_REAL), first="validate")
        return _told(name, _read(clone, name))


def _null(name: str, n: int) -> str:
    path, old, new = NULLS[name]
    new = new.replace("{n}", str(n)).replace("{letter}", chr(ord("a") + n % 26))  # no ticket has such a word
    block = f"### {path}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n" if old else f"{new}\n"
    return f"TITLE: Nothing, for the {n}th time\nCATEGORY: other\nHYPOTHESIS: Nothing changes.\n\n{block}"


# --- coverage ---------------------------------------------------------------------------------------------------------


def coverage(argv: Sequence[str]) -> int:
    """How often the interval of the validation covers the true gain, over seeds of the data."""
    args = _arguments("examples coverage", coverage.__doc__, argv, known=["ab", "routing"])
    return report([_coverage(name, 2 if args.quick else args.seeds, args.quick) for name in args.examples], args)


def _coverage(name: str, seeds: int, quick: bool) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        versions = [examples.copied(name, Path(scratch) / role) for role in ("baseline", "winner")]
        examples.write(versions[1], _best(versions[1]))
        truths = [_truth(folder, quick) for folder in versions]
        intervals = [_validated(name, versions, seed) for seed in range(1, seeds + 1)]
    gain = truths[1] - truths[0]
    covered = sum(found.low_score <= gain <= found.high_score for found in intervals)
    width = sum(found.high_score - found.low_score for found in intervals) / len(intervals)
    return {
        "example": name,
        "true gain": f"{gain:.4f}",
        "covered": f"{covered} of {seeds}",
        "mean width": f"{width:.4f}",
    }


def _best(folder: Path) -> str:
    """Return the source with all ideas that are meant well."""
    source = examples.source(folder)
    for path in sorted((folder / "ideas").glob("*.txt")):
        if "none; refused" not in path.read_text():
            source = examples.changed(source, examples.idea(path))
    return source


def _truth(folder: Path, quick: bool) -> float:
    if quick:
        script = folder / "truth.py"
        script.write_text(re.sub(r"^COUNT = .*", "COUNT = 2_000", script.read_text(), flags=re.MULTILINE))
    done = subprocess.run([sys.executable, "truth.py"], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _validated(name: str, versions: Sequence[Path], seed: int) -> Interval:
    """Return the interval that the final validation gives on data of one seed."""
    metric = metric_of(declaration.read((versions[0] / "task.toml").read_text()))
    before, after = (_measured(name, folder, seed, metric) for folder in versions)
    assert before.score is not None and after.score is not None
    if name == "routing":
        return cases.interval((before.cases, after.cases), before.score - after.score, metric)
    first, second = (counts.count([m], metric) for m in (before, after))
    assert first is not None and second is not None
    return counts.interval(first, second, metric, 1)


def _measured(name: str, folder: Path, seed: int, metric: Metric) -> Measurement:
    """Measure a version as the final validation does, on data of one seed."""
    declared = tomllib.loads((folder / "task.toml").read_text())
    commands = [declared["test"]["score"]]
    if name == "routing":
        commands = [f"python data.py --seed {seed}", declared["test"]["run"], *commands]
    env = {**os.environ, "AUTORESEARCH_SEED": str(seed)}
    for command in commands:
        words = [sys.executable, *command.split()[1:]]
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True)
    judged = json.loads(done.stdout)
    if name == "routing":
        scores = tuple(map(metric.score, judged["cases"]))
        return Measurement(seed, score=metric.score(judged["macro_f1"]), cases=scores)
    figures = {"successes": judged["conversions"], "trials": judged["visitors"]}
    return Measurement(seed, score=metric.score(judged["rate"]), figures=figures)


# --- parts ------------------------------------------------------------------------------------------------------------


def _arguments(name: str, doc: str | None, argv: Sequence[str], known: Sequence[str] = tuple(EXPERIMENTS)) -> object:
    made = parser(name, doc)
    made.add_argument("--examples", nargs="+", choices=known, default=list(known), metavar="NAME")
    made.add_argument("--seeds", type=int, default=50)
    made.add_argument("--json", type=Path, help="write the figures to a file as well")
    return made.parse_args(argv)


@contextmanager
def _clone() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["git", "clone", "-q", str(ROOT), f"{scratch}/clone"], check=True)
        yield Path(scratch, "clone")


def _loop(clone: Path, name: str, *options: str, first: str = "run", ok: Sequence[int] = (0,)) -> None:
    words = [sys.executable, "loop.py", first, "--task", f"examples/{name}", "--tag", TAG, *options]
    env = {**os.environ, "AUTORESEARCH_CACHE": str(clone.parent / "cache")}  # no scorecard and no lock of other nights
    done = subprocess.run(
        words, cwd=clone, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode not in ok:
        raise SystemExit(
            f"{' '.join(words[1:])} exited with {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        )


def _read(clone: Path, name: str) -> Night:
    return Journal(Layout(clone / "examples" / name / ".autoresearch", TAG)).night
