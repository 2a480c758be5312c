"""Simulate nights of noisy experiments under several keep rules, and compare true with claimed gains.

Sigma is 1 and all nights run at once. The rules are that of autoresearch/decide/keep_rule.py, the rule that it
replaced, and the field's: greedy, fixed margin, three-seed bootstrap, MAD score. Each rule also runs over its own
parameter, which gives the frontier of true gain against claimed gain that is not there. A night has a fixed number of
runs, so that repeats and runs of the incumbent are paid for in proposals; one table fixes the proposals instead.

The last table is of first nights, whose rule knows sigma from the night's own replicates alone: as the rule does it,
and with a guess of 0.012 beside them and the limits of a known sigma, as it did before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch.decide import keep_rule, noise
from benchmarks.cli import parser

Array = NDArray[np.floating]
Gains = Callable[[np.random.Generator, Array], Array]  # proposals decided so far, a night each -> true gains in sigma

DISCARD, KEEP, CANDIDATE, INCUMBENT = range(4)
EARLY = 10  # proposals of a night's beginning
GUESSED = 0.012  # bpb: sigma as it was guessed before
TRUE_SIGMAS = (0.003, 0.006, 0.012, 0.025, 0.055)  # bpb


def prior(better: float, gain: float, worse: float, loss: float) -> Gains:
    """Let a share of proposals gain (exponential, mean `gain` sigma), a share lose, and the rest change nothing."""

    def draw(rng: np.random.Generator, decided: Array) -> Array:
        kind, size = rng.random(len(decided)), rng.exponential(size=len(decided))
        return np.where(kind < better, size * gain, np.where(kind < better + worse, -size * loss, 0.0))

    return draw


PRIORS: dict[str, Gains] = {
    "null": prior(0, 0, 0, 0),
    "early": prior(0.25, 1.0, 0.50, 2.0),
    "mixed": prior(0.10, 1.0, 0.60, 2.0),
    "late": prior(0.04, 0.6, 0.50, 2.0),
}


@dataclass
class NightArrays:
    """State of all nights, as arrays over nights.

    val_bpb is in sigma, and lower is better. The baseline's true value is 0.
    """

    total: Array  # of the incumbent's values
    weight: Array  # how many values `total` is of
    runs: Array  # (nights, 3) of the candidate
    n: NDArray[np.int64]  # the candidate's runs so far
    sigma: Array  # as the rule knows it
    df: Array  # degrees of freedom of sigma
    results: Array  # (nights, all runs so far): only for rules that look at them
    kept_runs: Array  # (nights, 3) of the incumbent when it was kept

    @property
    def incumbent(self) -> Array:
        return self.total / self.weight

    @property
    def mean(self) -> Array:
        return self.runs.sum(1) / np.maximum(self.n, 1)


@dataclass(frozen=True)
class Rule:
    """Rule of one run a candidate, kept when better than the incumbent's run by `margin` sigma. Zero is greedy."""

    name: str
    margin: float = 0.0
    baseline: int = 3

    def act(self, s: NightArrays) -> NDArray[np.int64]:
        return np.where(s.incumbent - s.runs[:, 0] > self.margin * s.sigma, KEEP, DISCARD)

    def estimate(self, s: NightArrays) -> tuple[Array, Array]:
        """Return (total, weight) of the candidate as the new incumbent."""
        return s.runs.sum(1), s.n.astype(float)

    def rerun_due(self, s: NightArrays, in_a_row: Array) -> NDArray[np.bool_]:
        """Return whether the incumbent runs again, after so many discards on one run in a row."""
        return np.zeros(len(s.n), dtype=bool)

    @property
    def baseline_every(self) -> float:
        """Number of decided proposals between two runs of the baseline."""
        return np.inf


@dataclass(frozen=True)
class MadScore(Rule):
    """Rule that keeps what is better by `margin` times the median absolute deviation of all the night's results."""

    def act(self, s: NightArrays) -> NDArray[np.int64]:
        spread = np.median(np.abs(s.results - np.median(s.results, axis=1, keepdims=True)), axis=1)
        return np.where(s.incumbent - s.runs[:, 0] > self.margin * spread, KEEP, DISCARD)


@dataclass(frozen=True)
class Bootstrap(Rule):
    """Rule of three seeds each, which keeps when the resampled means are better with probability `margin`."""

    def act(self, s: NightArrays) -> NDArray[np.int64]:
        action = np.where(s.n < 3, CANDIDATE, DISCARD)
        ready = np.flatnonzero(s.n == 3)
        if len(ready):
            better = _resampled(s.kept_runs[ready])[:, :, None] > _resampled(s.runs[ready])[:, None, :]
            action[ready[better.mean((1, 2)) >= self.margin]] = KEEP
        return action


def _resampled(runs: Array) -> Array:
    """Return the means of all 27 resamples: (nights, 3) -> (nights, 27)."""
    picks = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    return runs[:, picks].mean(2)


@dataclass(frozen=True)
class FirstLeftOut(Rule):
    """Rule that was replaced: bars on two and three runs, no re-runs of the incumbent, the first run not counted.

    `margin` is the bar's z.
    """

    margin: float = 0.7

    def act(self, s: NightArrays) -> NDArray[np.int64]:
        delta, first = s.incumbent - s.mean, s.incumbent - s.runs[:, 0]
        z = delta / s.sigma / np.sqrt(1 / np.maximum(s.n, 1) + 1 / s.weight)
        action = np.where(z >= self.margin, KEEP, np.where(s.n >= 3, DISCARD, CANDIDATE))
        action = np.where(s.weight < 3, INCUMBENT, action)
        action = np.where(first >= 2 * s.sigma, np.where(delta >= 0.3 * s.sigma, KEEP, DISCARD), action)
        return np.where(delta <= 0, DISCARD, np.where(s.n == 1, CANDIDATE, action))

    def estimate(self, s: NightArrays) -> tuple[Array, Array]:
        return s.runs.sum(1) - s.runs[:, 0], s.n - 1.0


@dataclass(frozen=True)
class KeepRule(Rule):
    """The rule of autoresearch/decide/keep_rule.py, with its bars for keeping raised by `margin`."""

    def act(self, s: NightArrays) -> NDArray[np.int64]:
        z = (s.incumbent - s.mean) / s.sigma / np.sqrt(1 / np.maximum(s.n, 1) + 1 / s.weight)
        known, where = np.unique(s.df, return_inverse=True)
        zs = (keep_rule.SECOND_RUN_Z, *(z + self.margin for z in keep_rule.KEEP_Z.values()))
        second, two, three = (np.array([keep_rule.limit(z, df) for df in known])[where] for z in zs)
        bar = np.where(s.n < 2, np.inf, np.where(s.n == 2, two, three))
        last = s.n == max(keep_rule.KEEP_Z)
        return np.where(z < second, DISCARD, np.where(z >= bar, KEEP, np.where(last, DISCARD, CANDIDATE)))

    def estimate(self, s: NightArrays) -> tuple[Array, Array]:
        step = np.clip(s.incumbent - s.mean, 0.0, keep_rule.MOST_SHRINKAGE_SIGMA * s.sigma)
        return s.runs.sum(1) + s.mean + step, s.n + 1.0

    def rerun_due(self, s: NightArrays, in_a_row: Array) -> NDArray[np.bool_]:
        return in_a_row >= keep_rule.DISCARDS_PER_RUN * (1 + s.weight)

    @property
    def baseline_every(self) -> float:
        return keep_rule.BASELINE_EVERY


# --- the simulation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleOutcome:
    """Result of a rule: means over nights, in sigma."""

    gain: float  # true
    error: float  # standard error of the gain
    excess: float  # claimed (baseline's estimate - incumbent's) less true
    keeps: float
    false_keeps: float  # of a candidate that is no better
    proposals: float
    runs: float
    last_kept: float  # share of nights that kept their last proposal
    early_false: float  # false keeps among the first ten proposals

    @property
    def false_share(self) -> float:
        return self.false_keeps / max(self.keeps, 1e-9)


@dataclass
class SigmaEstimate:
    """Running estimate of each night's sigma from runs that were not selected, as noise.pool makes it."""

    guess: float | None  # at sigma, which counts like one degree of freedom
    squares: Array
    df: Array
    mean: Array  # of the incumbent's unselected runs
    n: Array

    def sigma(self) -> tuple[Array, Array]:
        """Return sigma and its degrees of freedom; with a guess these are infinite, as the rule took them to be."""
        measured = np.sqrt(self.squares / np.maximum(self.df, 1)) + noise.FLOOR
        if self.guess is None:
            return measured, self.df
        log_sigma = (self.df * np.log(measured) + math.log(self.guess)) / (self.df + 1)
        return np.exp(log_sigma), np.full_like(self.df, noise.WELL_KNOWN_DF)

    def add(self, where: NDArray[np.bool_], value: Array) -> None:
        """Add one more run of the incumbent."""
        some = where & (self.n > 0)
        self.squares += np.where(some, (value - self.mean) ** 2 * self.n / (self.n + 1), 0.0)
        self.df += some
        self.mean = np.where(where, (self.mean * self.n + value) / (self.n + 1), self.mean)
        self.n += where

    def replace(self, kept: NDArray[np.bool_], s: NightArrays) -> None:
        """Make the candidate the incumbent: all of its runs but the first count."""
        second, third = s.runs[:, 1], np.where(s.n == 3, s.runs[:, 2], s.runs[:, 1])
        self.squares += np.where(kept, (second - third) ** 2 / 2, 0.0)
        self.df += kept & (s.n == 3)
        self.mean, self.n = np.where(kept, (second + third) / 2, self.mean), np.where(kept, s.n - 1.0, self.n)


def _begin(rule: Rule, base: Array, guess: float | None) -> tuple[NightArrays, SigmaEstimate]:
    """Return the state of nights whose baselines gave `base` (nights, runs of the baseline)."""
    zero = np.zeros(len(base))
    runs = zero + rule.baseline
    spread = SigmaEstimate(guess, base.var(1) * rule.baseline, runs - 1, base.mean(1), runs)
    own = np.column_stack([base] * 3)[:, :3]
    well_known = zero + noise.WELL_KNOWN_DF
    tried = np.zeros((len(base), 3)), zero.astype(int)
    return NightArrays(base.sum(1), runs.copy(), *tried, zero + 1, well_known, base, own), spread


def simulate(
    rule: Rule,
    gains: Gains,
    *,
    nights: int = 4000,
    runs: int | None = 100,
    proposals: int | None = None,
    known: bool = True,
    guess: float | None = None,
    seed: int = 0,
) -> RuleOutcome:
    """Simulate nights of `runs` runs, or of `proposals` proposals.

    With `known` false the rule estimates sigma as it goes, from replicates and from `guess`.
    """
    rng = np.random.default_rng(seed)
    zero = np.zeros(nights)
    s, spread = _begin(rule, rng.normal(size=(nights, rule.baseline)), guess)
    if not known:
        s.sigma, s.df = spread.sigma()
    true, keeps, false, early, decided, in_a_row, since_baseline, last_kept = (zero.copy() for _ in range(8))
    first_total, first_weight, used = s.total, s.weight, zero + rule.baseline  # of the baseline
    rerun, baseline = np.zeros((2, nights), dtype=bool)
    gain, everyone = gains(rng, decided), np.arange(nights)
    while (live := used < runs if runs is not None else decided < (proposals or 0)).any():
        used += live
        rerun, baseline = rerun & live & ~baseline, baseline & live
        tried = live & ~rerun & ~baseline
        value = rng.normal(size=nights) - np.where(baseline, 0.0, true + np.where(rerun, 0.0, gain))
        first_total, first_weight = first_total + np.where(baseline, value, 0.0), first_weight + baseline
        s.total, s.weight = s.total + np.where(rerun, value, 0.0), s.weight + rerun
        in_a_row, since_baseline = np.where(rerun, 0.0, in_a_row), np.where(baseline, 0.0, since_baseline)
        spread.add(rerun, value)
        s.runs[everyone[tried], s.n[tried]] = value[tried]
        s.n = s.n + tried
        if isinstance(rule, MadScore):
            s.results = np.column_stack([s.results, value])
        if not known:
            s.sigma, s.df = spread.sigma()

        action = np.where(live & (s.n > 0), rule.act(s), CANDIDATE)
        done, kept = live & (action <= KEEP), live & (action == KEEP)
        first = kept & (keeps == 0)  # until then the re-runs of the incumbent are the baseline's
        first_total, first_weight = np.where(first, s.total, first_total), np.where(first, s.weight, first_weight)
        total, weight = rule.estimate(s)
        spread.replace(kept, s)
        s.total, s.weight = np.where(kept, total, s.total), np.where(kept, weight, s.weight)
        s.kept_runs = np.where(kept[:, None], s.runs, s.kept_runs)
        true, keeps, false = true + np.where(kept, gain, 0.0), keeps + kept, false + (kept & (gain <= 0))
        early = early + (kept & (gain <= 0) & (decided < EARLY))
        last_kept = np.where(done, kept, last_kept)
        decided, since_baseline = decided + done, since_baseline + done
        in_a_row = np.where(done, np.where(s.n == 1, in_a_row + 1, 0.0), in_a_row)
        s.runs[done], s.n = 0.0, np.where(done, 0, s.n)
        gain = np.where(done, gains(rng, decided), gain)
        idle = live & (s.n == 0)
        baseline = idle & (keeps > 0) & (since_baseline >= rule.baseline_every)
        rerun = (action == INCUMBENT) | (idle & rule.rerun_due(s, in_a_row))
    claimed = np.where(keeps > 0, first_total / first_weight - s.incumbent, 0.0)
    means = [float(a.mean()) for a in (claimed - true, keeps, false, decided, used, last_kept, early)]
    return RuleOutcome(float(true.mean()), float(true.std() / nights**0.5), *means)


# --- tables ----------------------------------------------------------------------------------------------------------

RULES = (
    Rule("greedy", baseline=1),
    Rule("fixed margin 1 sigma", 1.0),
    MadScore("MAD score 1", 1.0),
    Bootstrap("three-seed bootstrap 95%", 0.95),
    FirstLeftOut("z 0.7, first run left out", 0.7),
    KeepRule("ours"),
)
SWEEPS: dict[str, Sequence[Rule]] = {
    "fixed margin": [Rule("", m) for m in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)],
    "MAD score": [MadScore("", m) for m in (0.25, 0.5, 1.0, 1.5, 2.0)],
    "three-seed bootstrap": [Bootstrap("", p) for p in (0.5, 0.7, 0.8, 0.9, 0.95)],
    "first run left out": [FirstLeftOut("", z) for z in (0.1, 0.4, 0.7, 1.0, 1.5)],
    "ours": [KeepRule("", m) for m in (-0.6, -0.3, 0.0, 0.3, 0.6, 1.0)],
}


def probe(gain: float, at: int = 40) -> Gains:
    """Return gains of zero but for proposal `at`, whose true gain is `gain` sigma."""
    return lambda rng, decided: np.where(decided == at, gain, 0.0)


def table(title: str, rows: dict[str, dict[str, RuleOutcome]]) -> None:
    """Print one line a rule: true gain (keeps, share of them false; claimed gain that is not there)."""
    print(f"\n{title}")
    columns = list(next(iter(rows.values())))
    print(f"{'':28s}" + "".join(f"{name:>26s}" for name in columns))
    for name, row in rows.items():
        cells = (f"{o.gain:6.2f} ({o.keeps:4.1f} {o.false_share:4.0%} {o.excess:5.2f})" for o in row.values())
        print(f"{name:28s}" + "".join(f"{cell:>26s}" for cell in cells))


def main(argv: Sequence[str]) -> int:
    options = parser("simulations keep_rule", __doc__)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    args = options.parse_args(argv)
    nights = 100 if args.quick else 4000
    figures: dict[str, dict[str, dict[str, RuleOutcome]]] = {}

    print("True gain in sigma (keeps, share of them no better, claimed gain that is not there)")
    for title, budget in (
        ("100 runs, sigma known", {"runs": 100}),
        ("100 runs, sigma estimated from the night", {"runs": 100, "known": False}),
        ("100 proposals, sigma known", {"runs": None, "proposals": 100}),
    ):
        rows = {r.name: {p: simulate(r, g, nights=nights, **budget) for p, g in PRIORS.items()} for r in RULES}
        figures[title] = rows
        table(title, rows)

    rows = {
        f"{name} {rule.margin:g}": {p: simulate(rule, PRIORS[p], nights=nights) for p in ("early", "mixed", "late")}
        for name, rules in SWEEPS.items()
        for rule in rules
    }
    figures["frontier, 100 runs"] = rows
    table("frontier, 100 runs, each rule over its parameter", rows)

    print("\nShare of true gains kept as proposal 41, after 40 that changed nothing (runs each)")
    sizes = (0.0, 0.5, 1.0, 2.0, 3.0)
    power = {
        r.name: {f"{g:g} sigma": simulate(r, probe(g), nights=nights, runs=None, proposals=41) for g in sizes}
        for r in RULES
    }
    figures["power"] = power
    for name, row in power.items():
        print(
            f"{name:28s}" + "".join(f"{o.last_kept:8.2f}" for o in row.values()) + f"{row['0 sigma'].runs / 41:10.2f}"
        )
    figures["first nights"] = first_nights(nights)
    if args.json:
        args.json.write_text(json.dumps(figures, default=asdict, indent=1) + "\n")
    return 0


def first_nights(nights: int) -> dict[str, dict[str, RuleOutcome]]:
    """Print what nights gain and keep falsely where nothing is known of sigma beforehand, and return the outcomes."""
    rule = KeepRule("ours")
    print("\nFirst nights: true gain (false keeps among the first ten, of the night)")
    print(f"{'':28s}" + "".join(f"{name:>22s}" for name in PRIORS))
    ways: dict[str, dict[str, Any]] = {"sigma known": {}, "replicates": {"known": False}}
    ways |= {f"guess, sigma is {s:g}": {"known": False, "guess": GUESSED / s} for s in TRUE_SIGMAS}
    rows = {}
    for name, way in ways.items():
        rows[name] = {kind: simulate(rule, gains, nights=nights, **way) for kind, gains in PRIORS.items()}
        cells = (f"{o.gain:6.2f} ({o.early_false:.2f}, {o.false_keeps:.2f})" for o in rows[name].values())
        print(f"{name:28s}" + "".join(f"{cell:>22s}" for cell in cells), flush=True)
    return rows
