"""Check the statistics of metrics that are not noisy: scores by case of an exact metric, and counts.

Three questions. How low the p of the paired test has to be for a candidate to be kept: nights of 100 candidates over a
fixed set of cases, whose truth is the share of all possible cases that a version gets right. How often the 95%
intervals hold the truth. And what an A/A night claims, in which no candidate changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from autoresearch.decide import cases, counts, exact
from autoresearch.decide.interval import Interval
from autoresearch.decide.keep_rule import Estimate, after_keep, decide
from autoresearch.decide.noise import WELL_KNOWN_DF, Noise
from autoresearch.metrics import Metric
from autoresearch.records import Measurement
from benchmarks.cli import parser

SHARE_RIGHT = 0.7  # of the cases, by the baseline
CANDIDATES = 100
CHANGES = 0.06  # of the cases come out otherwise with a candidate, at least
# Kind of night -> share of ideas that gain, their mean gain, share that lose, their mean loss; in the share of right.
KINDS = {"null": (0.0, 0.0, 0.0, 0.0), "mixed": (0.10, 0.03, 0.6, 0.06), "late": (0.04, 0.02, 0.5, 0.04)}
ACCURACY = Metric(name="accuracy", unit="", direction="higher", scatter="exact")
F1 = Metric(name="macro-F1", unit="", direction="higher", scatter="exact")
RATE = Metric(name="conversions", unit="", direction="higher", scatter="counts")
LOG_RATE = Metric(name="conversions", unit="", direction="higher", scale="log", scatter="counts")


def night(rng: np.random.Generator, size: int, bar: float, kind: str) -> tuple[float, float, int]:
    """Search over fixed cases; return the true gain, the claimed gain that is not there, and the false keeps."""
    share, right = SHARE_RIGHT, rng.random(size) < SHARE_RIGHT
    first, false = right.mean(), 0
    for _ in range(CANDIDATES):
        gain = _idea(rng, kind, 1 - share)
        changes = max(CHANGES, abs(gain))
        mends, breaks = min((changes + gain) / 2, 1 - share), min((changes - gain) / 2, share)
        luck = rng.random(size)
        new = np.where(right, luck >= breaks / share, luck < mends / max(1 - share, 1e-9))
        test = cases.compare(((~right).astype(float).tolist(), (~new).astype(float).tolist()))
        if new.mean() > right.mean() and test.p <= bar:
            right, share, false = new, share + mends - breaks, false + (gain <= 0)
    true = share - SHARE_RIGHT
    return true, float(right.mean() - first) - true, false


def _idea(rng: np.random.Generator, kind: str, room: float) -> float:
    better, gain, worse, loss = KINDS[kind]
    luck, size = rng.random(), float(rng.exponential())
    return min(size * gain, 0.9 * room) if luck < better else -size * loss if luck < better + worse else 0.0


def bars(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Compare limits for p, by the number of cases."""
    rows = {}
    for size in (50, 200, 1000):
        for kind in KINDS:
            row = {}
            for bar in (0.5, 0.2, 0.1, exact.KEEP_P, 0.025, 0.01):
                true, excess, false = np.mean([night(rng, size, bar, kind) for _ in range(nights)], axis=0)
                row[f"p {bar:g}"] = f"{true:+.3f} ({excess:.3f}, {false:.1f})"
            rows[f"{size} cases, {kind}"] = row
    return rows


# --- intervals -------------------------------------------------------------------------------------------------------

Held = tuple[bool, float]  # whether an interval holds the truth, and half its width
CLASSES = np.array([0.5, 0.3, 0.15, 0.05])  # shares of the classes of tickets


def answers(rng: np.random.Generator, labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Answer each case: its label where `right`, else another class."""
    wrong = (labels + rng.integers(1, len(CLASSES), len(labels))) % len(CLASSES)
    return np.where(right, labels, wrong)


def macro_f1(cells: np.ndarray) -> float:
    """Return the mean of F1 over classes, from counts by (label, answer)."""
    return float(np.mean(2 * np.diag(cells) / np.maximum(1, cells.sum(0) + cells.sum(1))))


def pseudo_values(labels: np.ndarray, answered: np.ndarray) -> tuple[float, list[float]]:
    """Return the macro-F1 and its jackknife pseudo-values, one a case, as examples/routing/score.py does."""
    cells = np.zeros((len(CLASSES), len(CLASSES)))
    np.add.at(cells, (labels, answered), 1)
    whole, n, values = macro_f1(cells), len(labels), np.zeros_like(cells)
    for cell in np.argwhere(cells):
        less = cells.copy()
        less[tuple(cell)] -= 1
        values[tuple(cell)] = n * whole - (n - 1) * macro_f1(less)
    return whole, values[labels, answered].tolist()


@dataclass(frozen=True)
class Tickets:
    """Two versions on the same tickets: what each gets wrong, its macro-F1, and the pseudo-values of that."""

    wrong: list[list[float]]
    f1: list[float]
    values: list[list[float]]

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int, gain: float) -> Tickets:
        """Draw tickets anew; the second version gets a larger share of them right, by `gain`."""
        labels = rng.choice(len(CLASSES), size, p=CLASSES)
        right, change = rng.random(size) < SHARE_RIGHT, rng.random(size)
        new = np.where(right, change >= 0.03, change < 0.07 + gain / (1 - SHARE_RIGHT))
        found = answers(rng, labels, right)
        both = found, np.where(new == right, found, answers(rng, labels, new))
        f1, values = zip(*(pseudo_values(labels, answered) for answered in both), strict=True)
        return cls([(~hits).astype(float).tolist() for hits in (right, new)], list(f1), list(values))


def coverage(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Count how often the 95% interval of one round holds the truth, and how wide it is."""
    rows: dict[str, Any] = {}
    for size in (20, 50, 200, 1000):
        for gain in (0.0, 0.08):
            large = [Tickets.drawn(rng, 20_000, gain).f1 for _ in range(max(3, nights // 30))]
            truth = fmean(after - before for before, after in large)
            found: dict[str, list[Held]] = {}
            for _ in range(nights):
                t = Tickets.drawn(rng, size, gain)
                by_wrong, got = (t.wrong[0], t.wrong[1]), t.f1[1] - t.f1[0]
                by_value = [-v for v in t.values[0]], [-v for v in t.values[1]]
                for name, each, figure, true in (
                    ("accuracy", by_wrong, fmean(t.wrong[0]) - fmean(t.wrong[1]), gain),
                    ("macro-F1 by pseudo-values", by_value, got, truth),
                    ("macro-F1 by right or wrong", by_wrong, got, truth),
                ):
                    found.setdefault(name, []).append(_held(cases.interval(each, figure, F1), true))
            rows |= {f"{name}, {size} cases, gain {gain:g}": _row(each) for name, each in found.items()}
    for trials in (100, 1000, 10_000):
        for rates in ((0.05, 0.05), (0.05, 0.07), (0.4, 0.45)):
            for metric in (RATE, LOG_RATE):
                truth = metric.score(rates[0]) - metric.score(rates[1])
                drawn = [_counted(rng, metric, trials, rates) for _ in range(nights)]
                each = [_held(i, truth) for i in drawn if i]
                rows[f"{metric.scale} rates {rates[0]:g}, {rates[1]:g}, {trials} trials"] = _row(each)
    return rows


def _held(i: Interval, truth: float) -> Held:
    return i.low_score <= truth <= i.high_score, (i.high_score - i.low_score) / 2


def _counted(rng: np.random.Generator, metric: Metric, trials: int, rates: tuple[float, float]) -> Interval | None:
    """Return the interval from one run of each version; None where one has no success, which has no logarithm."""
    runs = [_visitors(rng, metric, trials, rate) for rate in rates]
    both = [counts.count([run], metric) for run in runs if run is not None]
    before, after = both if len(both) == 2 else (None, None)
    return counts.interval(before, after, metric, 1) if before and after else None


def _visitors(rng: np.random.Generator, metric: Metric, trials: int, rate: float) -> Measurement | None:
    successes = int(rng.binomial(trials, rate))
    if successes == 0 and metric.scale == "log":
        return None
    figures = {"successes": successes, "trials": trials}
    return Measurement(0, score=metric.score(successes / trials), figures=figures)


def _row(each: Sequence[Held]) -> dict[str, Any]:
    return {"holds the truth": f"{fmean(hit for hit, _ in each):.1%}", "half width": f"{fmean(w for _, w in each):.4f}"}


# --- nothing to find -------------------------------------------------------------------------------------------------


def nothing(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Play A/A nights of 100 candidates: keeps, what the search claims, and how often the validation claims a gain."""
    rows: dict[str, Any] = {}
    for size in (50, 200, 1000):
        found = [_nothing_by_cases(rng, size) for _ in range(nights)]
        rows[f"exact, {size} cases"] = _claims(found)
    for trials in (200, 2000):
        found = [_nothing_by_counts(rng, trials) for _ in range(nights)]
        rows[f"counts, {trials} trials a run"] = _claims(found)
    return rows


def _claims(found: Sequence[tuple[int, float, bool]]) -> dict[str, Any]:
    keeps, claimed, real = (fmean(column) for column in zip(*found, strict=True))
    return {"keeps": f"{keeps:.1f}", "search claims": f"{claimed:+.4f}", "validation claims a gain": f"{real:.1%}"}


def _nothing_by_cases(rng: np.random.Generator, size: int) -> tuple[int, float, bool]:
    first = right = rng.random(size) < SHARE_RIGHT
    keeps = 0
    for _ in range(CANDIDATES):
        new = _redrawn(rng, right)
        scores = [-float(hits.mean()) for hits in (right, new)]
        both = (~right).astype(float).tolist(), (~new).astype(float).tolist()
        if exact.decide(scores[1], scores[0], ACCURACY, both).verdict == "keep":
            right, keeps = new, keeps + 1
    hidden = rng.random(size) < SHARE_RIGHT
    after = hidden if keeps == 0 else _redrawn(rng, hidden)
    gain = float(after.mean() - hidden.mean())
    interval = cases.interval(((~hidden).astype(float).tolist(), (~after).astype(float).tolist()), gain, ACCURACY)
    return keeps, float(right.mean() - first.mean()), interval.real


def _redrawn(rng: np.random.Generator, right: np.ndarray) -> np.ndarray:
    """Return other answers that are as often right: a few cases come out otherwise."""
    luck = rng.random(len(right))
    moved = CHANGES / 2
    return np.where(right, luck >= moved / SHARE_RIGHT, luck < moved / (1 - SHARE_RIGHT))


def _nothing_by_counts(rng: np.random.Generator, trials: int, rate: float = 0.05) -> tuple[int, float, bool]:
    def run() -> Measurement:
        made = _visitors(rng, RATE, trials, rate)
        assert made is not None
        return made

    base = [run(), run()]
    incumbent, keeps = Estimate(tuple(m.score or 0.0 for m in base)), 0
    first = incumbent.mean
    sigma = counts.sigma(base, RATE)
    assert sigma is not None
    noise = Noise(sigma, WELL_KNOWN_DF)
    for _ in range(CANDIDATES):
        values = [run().score or 0.0]
        while (d := decide(values, incumbent, noise, metric=RATE)).verdict is None:
            if d.rerun == "candidate":
                values.append(run().score or 0.0)
            else:
                incumbent = incumbent.add(run().score or 0.0)
        if d.verdict == "keep":
            incumbent, keeps = after_keep(values, incumbent, noise), keeps + 1
    before, after = (counts.count([run() for _ in range(5)], RATE) for _ in range(2))
    assert before is not None and after is not None
    return keeps, first - incumbent.mean, counts.interval(before, after, RATE, 5).real


def main(argv: Sequence[str]) -> int:
    options = parser("simulations kinds", __doc__)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    args = options.parse_args(argv)
    nights, rng, figures = 3 if args.quick else 150, np.random.default_rng(2), {}
    for title, question, many in (
        ("Limits for p: true gain in the share of right (claimed that is not there, false keeps)", bars, 1),
        ("Intervals", coverage, 10),
        ("A/A nights", nothing, 2),
    ):
        figures[title] = rows = question(nights * many, rng)
        print(f"\n{title}")
        for name, row in rows.items():
            print(f"{name:52s}" + " | ".join(f"{column}: {value}" for column, value in row.items()), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0
