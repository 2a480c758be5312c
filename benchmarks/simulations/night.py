"""Simulate nights under the project's own statistics and check that these are as good as they claim to be.

Nights have 100 runs and sigma = 1, and call the project's functions as the loop does. The tables show how often the
validated interval covers the truth, how optimistic the search's own figure is, what re-testing the top three changes,
whether re-runs of the incumbent see the machine drift and what drift costs, what simplifications give away, and how
many winners the early stop loses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from autoresearch.decide import early_stop, interval, noise
from autoresearch.decide.keep_rule import Estimate, after_keep, baseline_due, decide, given_up, incumbent_due
from autoresearch.decide.noise import Noise
from benchmarks.cli import parser

DriftFunction = Callable[[float], float]  # share of the night -> what every file's val_bpb is moved by, in sigma
# Kind of night -> share of ideas that gain, their mean gain, share that lose, their mean loss; in sigma.
KINDS = {"null": (0, 0, 0, 0), "early": (0.25, 1, 0.5, 2), "mixed": (0.10, 1, 0.6, 2), "late": (0.04, 0.6, 0.5, 2)}


def steady(share: float) -> float:
    return 0.0


@dataclass
class File:
    """Kept version of the program."""

    gain: float  # true, over the baseline
    estimate: Estimate
    unselected: list[tuple[float, float]]  # (time, bpb) of the runs that were not selected


@dataclass
class SimulatedMachine:
    """Machine that adds noise to every run, and drifts over the night's runs."""

    rng: np.random.Generator
    drift: DriftFunction = steady
    runs: int = 100
    used: int = 0

    def run(self, gain: float) -> tuple[float, float]:
        """Return (time, bpb) of a run of a file with this true gain."""
        self.used += 1
        moved = self.drift(min(self.used / self.runs, 1.0))
        return float(self.used), float(self.rng.normal()) + moved - gain


@dataclass
class SimulatedSearch:
    """Night as the loop plays it, on a machine whose truth is known."""

    machine: SimulatedMachine
    kind: str = "mixed"
    loss: float | None = None  # every idea is a simplification that loses this much
    watch: bool = True  # for drift
    files: list[File] = field(default_factory=list)
    decided: int = 0
    false: int = 0
    alarms: list[float] = field(default_factory=list)
    repeats: int = 0

    def __post_init__(self) -> None:
        base = [self.machine.run(0.0) for _ in range(3)]
        self.files.append(File(0.0, Estimate(tuple(bpb for _, bpb in base)), base))
        self.best = self.files[0].estimate.mean
        self.in_a_row = self.since_baseline = 0

    def go(self) -> SimulatedSearch:
        while self.machine.used < self.machine.runs:
            if baseline_due(self.since_baseline):
                self.rerun(self.files[0])
            elif incumbent_due(self.files[-1].estimate, self.in_a_row):
                self.rerun(self.files[-1])
            else:
                self.experiment()
        return self

    @property
    def noise(self) -> Noise:
        return noise.pool([[bpb for _, bpb in file.unselected] for file in self.files])

    def rerun(self, file: File) -> None:
        if file is self.files[-1]:
            self.in_a_row = 0
        if file is self.files[0]:
            self.since_baseline = 0
        file.unselected.append(self.machine.run(file.gain))
        file.estimate = file.estimate.add(file.unselected[-1][1])
        change = noise.drift([f.unselected for f in self.files]) if self.watch else None
        if change is not None:
            self.alarms.append(change.shift_score)
            for each in self.files:
                each.unselected = [run for run in each.unselected if run[0] >= change.since]
            incumbent = self.files[-1]
            while len(incumbent.unselected) < 2:
                incumbent.unselected.append(self.machine.run(incumbent.gain))
            incumbent.estimate = Estimate(tuple(bpb for _, bpb in incumbent.unselected))

    def experiment(self) -> None:
        incumbent = self.files[-1]
        gain = incumbent.gain + (self.idea() if self.loss is None else -self.loss)
        runs = [self.machine.run(gain)]
        values = [runs[0][1]]
        simpler = self.loss is not None
        before = self.noise
        given = given_up(incumbent.estimate, self.best, before)
        while (
            d := decide(values, incumbent.estimate, before, simplifies=simpler, given_up_sigma=given)
        ).verdict is None:
            self.repeats += 1
            if d.rerun == "candidate":
                runs.append(self.machine.run(gain))
                values.append(runs[-1][1])
            else:
                incumbent.unselected.append(self.machine.run(incumbent.gain))
                incumbent.estimate = incumbent.estimate.add(incumbent.unselected[-1][1])
        self.decided, self.since_baseline = self.decided + 1, self.since_baseline + 1
        self.in_a_row = self.in_a_row + 1 if len(runs) == 1 else 0
        if d.verdict == "keep":
            self.false += gain <= incumbent.gain
            estimate = after_keep(values, incumbent.estimate, before)
            self.files.append(File(gain, estimate, runs[1:]))
            self.best = min(self.best, estimate.mean)

    def idea(self) -> float:
        rng = self.machine.rng
        better, gain, worse, loss = KINDS[self.kind]
        luck, size = rng.random(), float(rng.exponential())
        return size * gain if luck < better else -size * loss if luck < better + worse else 0.0

    @property
    def claimed(self) -> float:
        return self.files[0].estimate.mean - self.files[-1].estimate.mean


# --- the questions ---------------------------------------------------------------------------------------------------


def validate(search: SimulatedSearch, rounds: int = interval.ROUNDS) -> tuple[float, interval.Interval]:
    """Re-test the top three, then run baseline and winner in rounds; return the winner's true gain and the interval."""
    machine, files = search.machine, dict(enumerate(search.files))
    names = interval.top({n: file.estimate.mean for n, file in files.items()})
    retests: dict[int, list[float]] = {n: [] for n in names}
    for n, _ in interval.interleaved(names, interval.RETESTS, 0):
        retests[n].append(machine.run(files[n].gain)[1])
    won = files[interval.winner({n: (files[n].estimate.mean, files[n].estimate.n) for n in names}, retests)]
    pairs: list[dict[str, float]] = [{} for _ in range(rounds)]
    for name, seed in interval.interleaved(("baseline", "winner"), rounds, 0):
        pairs[seed][name] = machine.run(won.gain if name == "winner" else 0.0)[1]
    return won.gain, interval.paired([(pair["baseline"], pair["winner"]) for pair in pairs])


def coverage(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Check intervals and claims, by kind of night."""
    rows = {}
    for kind in KINDS:
        searches = [SimulatedSearch(SimulatedMachine(rng), kind).go() for _ in range(nights)]
        results = [validate(search) for search in searches for _ in range(5)]
        rows[kind] = {
            "true gain of the last kept": fmean(s.files[-1].gain for s in searches),
            "true gain of the validated": fmean(gain for gain, _ in results),
            "claimed less true": fmean(s.claimed - s.files[-1].gain for s in searches),
            "validated less true": fmean(i.gain_score - gain for gain, i in results),
            "interval covers": fmean(i.low_score <= gain <= i.high_score for gain, i in results),
            "interval above zero": fmean(i.real for _, i in results),
            "half width": fmean((i.high_score - i.low_score) / 2 for _, i in results),
            "share of runs that are repeats": fmean(s.repeats / s.machine.runs for s in searches),
        }
    return rows


def drifting(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Compare nights on drifting machines, with and without a watch on drift."""
    drifts: dict[str, DriftFunction] = {
        "steady": steady,
        "slow +2": lambda u: 2 * u,
        "slow +4": lambda u: 4 * u,
        "step +2": lambda u: 2.0 * (u > 0.4),
        "step +4": lambda u: 4.0 * (u > 0.4),
        "step -2": lambda u: -2.0 * (u > 0.4),
        "step -4": lambda u: -4.0 * (u > 0.4),
    }
    rows = {}
    for name, drift in drifts.items():
        blind = [SimulatedSearch(SimulatedMachine(rng, drift), watch=False).go() for _ in range(nights)]
        seeing = [SimulatedSearch(SimulatedMachine(rng, drift)).go() for _ in range(nights)]
        rows[name] = {
            "seen": fmean(bool(s.alarms) for s in seeing),
            "true gain, not watching": fmean(s.files[-1].gain for s in blind),
            "true gain": fmean(s.files[-1].gain for s in seeing),
            "sigma, not watching": fmean(s.noise.sigma_score for s in blind),
            "sigma": fmean(s.noise.sigma_score for s in seeing),
        }
    return rows


def simplifying(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Play nights of nothing but simplifications."""
    rows = {}
    for loss in (0.0, 0.1, 0.25, 0.5, 1.0):
        searches = [SimulatedSearch(SimulatedMachine(rng), loss=loss).go() for _ in range(nights)]
        gains = [s.files[-1].gain for s in searches]
        rows[f"each loses {loss:g}"] = {"kept": fmean(len(s.files) - 1 for s in searches), "true gain": fmean(gains)}
    return rows


@dataclass
class SimulatedIdea:
    """Change as half the budget and as the whole budget show it, in units where sigma is 0.01 bpb."""

    gain: float
    behind_nats: float
    delta_score: float


def idea(rng: np.random.Generator) -> SimulatedIdea:
    """Draw an idea: a tenth of them gain; the gap at half the budget is the final one, blurred, in nats a token."""
    luck, size = rng.random(), float(rng.exponential())
    gain = 0.01 * (size if luck < 0.1 else -2 * size if luck < 0.7 else 0.0)
    blur = 0.75 * abs(gain) + 0.01
    behind = -2.2 * (gain + blur * float(rng.normal())) + 0.005 * float(rng.normal())
    return SimulatedIdea(gain, behind, gain + 0.01 * float(rng.normal()))


@dataclass
class Stopper:
    """Series of experiments under the early stop, which learns from those that it lets end."""

    rng: np.random.Generator
    known: list[early_stop.Example] = field(default_factory=list)
    past_limit: int = 0
    stopped: int = 0
    on: int = 0  # experiments for which it was on

    def take(self, new: SimulatedIdea) -> bool | None:
        """Return whether a winner was stopped; None when the idea is not a winner or the rule was off."""
        rule = early_stop.calibrate(self.known)
        self.on += rule is not None
        past = rule is not None and new.behind_nats > rule.limit_nats
        stops = past and not early_stop.audit_due(self.past_limit)
        self.past_limit, self.stopped = self.past_limit + past, self.stopped + stops
        if not stops:
            limit = rule.limit_nats if rule else None
            self.known.append(early_stop.Example(new.behind_nats, new.delta_score, limit))
        return stops if rule is not None and new.gain > 0 else None


def stopping(nights: int, rng: np.random.Generator) -> dict[str, Any]:
    """Start with nothing known: a night's experiments, then the same machine's next nights on the same task."""
    rows = {}
    for first, last in ((0, 80), (80, 160), (160, 320)):
        searches = [Stopper(rng) for _ in range(max(10, nights // 10))]
        for search in searches:
            for _ in range(first):
                search.take(idea(rng))
            search.on = search.stopped = 0
        winners = [lost for s in searches for _ in range(first, last) if (lost := s.take(idea(rng))) is not None]
        rows[f"{first} to {last}"] = {
            "rule is on": fmean(s.on for s in searches) / (last - first),
            "winners stopped": fmean(winners) if winners else 0.0,
            "training time saved": fmean(s.stopped for s in searches) * (1 - early_stop.AT) / (last - first),
        }
    return rows


def main(argv: Sequence[str]) -> int:
    options = parser("simulations night", __doc__)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    args = options.parse_args(argv)
    nights, rng = 10 if args.quick else 600, np.random.default_rng(1)
    figures = {}
    for title, question in (
        ("Search and validation, by kind of night", coverage),
        ("Drift, mixed nights", drifting),
        ("Nights of nothing but simplifications", simplifying),
        ("Early stop", stopping),
    ):
        figures[title] = rows = question(nights, rng)
        print(f"\n{title} (units of sigma)")
        columns = list(next(iter(rows.values())))
        print(" " * 18 + " | ".join(columns))
        for name, row in rows.items():
            print(f"{name:18s}" + " | ".join(f"{row[c]:{len(c)}.3f}" for c in columns), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0
