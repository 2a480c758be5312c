"""Simulate nights of the real tuner and of other searches, and compare how much of the possible gain each reaches.

Nothing trains: a run is a made-up val_bpb (surface.py) with noise. Every night has the same number of runs, the repeats
and runs of the incumbent that the keep rule asks for included, and is judged by the noise-free gain of the version that
it ends with, as a share of what a noise-free descent over the same constants reaches.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.decide.keep_rule import Estimate, after_keep, decide, incumbent_due
from autoresearch.decide.noise import Noise
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Decision, Failure, Proposal, SearchReplace, TaskFacts, Trial
from autoresearch.search import menu, policy
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.proposer import BaseProposer
from autoresearch.search.tuner.axes import Axis, Value
from autoresearch.search.tuner.space import Space, Values, infer
from autoresearch.search.tuner.tpe import suggestions
from autoresearch.search.tuner.tuner import Tuner
from autoresearch.system import machine
from benchmarks.cli import command_line, parser
from benchmarks.simulations.surface import BASELINE, SEQ_LEN, SimulatedCrash, Surface, descent

MARKS = (12, 25, 50, 100)  # runs


# --- the searches -----------------------------------------------------------------------------------------------------

SearchFunction = Callable[[Context], Proposal]


def tuner(seed: int, **options: Any) -> SearchFunction:
    return lambda context: Tuner(seed, **options).propose(context)[0]


def random_search(seed: int) -> SearchFunction:
    """Move all constants at once, anywhere in their ranges."""
    return lambda context: _anywhere(context, _rng(seed, context))


def uniform_tpe(seed: int) -> SearchFunction:
    """Search as Optuna does: ten settings anywhere in the ranges, then TPE over all constants."""

    def search(context: Context) -> Proposal:
        rng, space = _rng(seed, context), infer(BASELINE, SEQ_LEN)
        if len(context.history) < 10:
            return _anywhere(context, rng)
        told = [({**space.current, **space.values(constants.read(t.source))}, t.score) for t in context.history]
        return _first_possible(context, suggestions(_axes(space), told, rng.randrange(2**31)))

    return search


def steps(seed: int) -> SearchFunction:
    """Move one to three constants from the incumbent, at random: evolution without a model of what helps."""

    def moves(context: Context) -> Iterator[Values]:
        rng, axes = _rng(seed, context), _axes(infer(context.source, SEQ_LEN))
        while True:
            chosen = rng.sample(axes, rng.randint(1, 3))
            yield {axis.name: _step(axis, rng) for axis in chosen}

    return lambda context: _first_possible(context, moves(context))


class MenuChooser(BaseProposer):
    """Proposer that takes an entry of a small model's menu at random: a model that knows nothing."""

    name = "menu"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        entries = menu.entries(context)
        if not entries:
            raise ProposerError("nothing on the menu is new", reason="exhausted")
        chosen = _rng(self.seed, context).choice(entries)
        return [Proposal(chosen.edits, chosen.title, "", chosen.category, self.name)]


class Useless(BaseProposer):
    """Proposer of changes that change nothing: recipes on a machine on which none of them pays."""

    name = "recipes"

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        last = context.source.rstrip().rpartition("\n")[2]
        edit = SearchReplace(last, f"{last}\n\n\ndef unused_{context.turn}():\n    return {context.turn}")
        return [Proposal((edit,), f"Nothing {context.turn}", "", "other", self.name)]


def beside_the_menu(seed: int) -> SearchFunction:
    """Share the turns of a night between the tuner and a MenuChooser by what each achieves, as a hybrid night does."""
    own = Tuner(seed)
    both = Hybrid([own, MenuChooser(seed)], fallback=own)
    return lambda context: both.propose(context)[0]


def beside_both(seed: int) -> SearchFunction:
    """Share them with a MenuChooser and recipes that gain nothing."""
    own, recipes = Tuner(seed), Useless()
    all_three = Hybrid([own, MenuChooser(seed), recipes], fallback=own, late=recipes)
    return lambda context: all_three.propose(context)[0]


def _rng(seed: int, context: Context) -> random.Random:
    return random.Random(f"{seed} {context.turn}")


def _axes(space: Space) -> list[Axis]:
    return [axis for axis in space.axes if not axis.minor]


def _anywhere(context: Context, rng: random.Random) -> Proposal:
    def settings() -> Iterator[Values]:
        while True:
            yield {axis.name: _any(axis, rng) for axis in _axes(infer(BASELINE, SEQ_LEN))}

    return _first_possible(context, settings())


def _any(axis: Axis, rng: random.Random) -> Value:
    return rng.choice(axis.grid) if axis.scale == "choice" else axis.at(rng.uniform(axis.low, axis.high))


def _step(axis: Axis, rng: random.Random) -> Value:
    if axis.scale == "choice":
        return rng.choice(axis.grid)
    value = axis.moved(axis.value, rng.choice((1, -1, 0.5, -0.5)))
    return axis.value if value is None else value


def _first_possible(context: Context, settings: Iterator[Values]) -> Proposal:
    """Propose the first of the settings that the script allows and that changes something."""
    space = infer(context.source, SEQ_LEN)
    for moved in settings:
        values = space.settle({**space.current, **moved})
        if values is not None and space.edits(values):
            return Proposal(space.edits(values), "", "", "other", "rival")
    raise AssertionError("settings never end")


SEARCHES: Mapping[str, Callable[[int], SearchFunction]] = {
    "tuner": tuner,
    "tuner, at most three constants at once": partial(tuner, most_knobs=3),
    "tuner, TPE from the start": partial(tuner, levers=()),
    "tuner beside a menu that is chosen from at random": beside_the_menu,
    "tuner beside such a menu and recipes that gain nothing": beside_both,
    "one- to three-knob steps": steps,
    "TPE from ten uniform trials": uniform_tpe,
    "random search": random_search,
}


# --- the night --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NightResult:
    """Result of one night."""

    gains: tuple[float, ...]  # noise-free gain over the baseline at each mark, as a share of the descent's
    proposing_s: float  # a proposal
    crashes: int


class SimulatedNight:
    """Night of a search on one surface, under the real keep rule and policy."""

    def __init__(self, name: str, sigma: float, seed: int) -> None:
        self.search, self.surface, self.seed = SEARCHES[name](seed), Surface(seed), seed
        self.noise, self.rng = Noise(sigma, 10.0), random.Random(f"noise {seed}")
        self.history: list[Trial] = []
        self.used = self.single_run_discards = 0  # runs; discards on a single run in a row
        self.proposing_s = 0.0
        self.incumbent = BASELINE
        self.estimate = Estimate(tuple(self._run(self.incumbent) for _ in range(3)))
        self.curve = [(0, self.incumbent)]

    def play(self, marks: Sequence[int]) -> NightResult:
        """Play until the last mark, in runs, and return the gains at each."""
        while self.used < marks[-1]:
            if incumbent_due(self.estimate, self.single_run_discards):
                self._rerun_incumbent()
            else:
                self._turn()
                self.curve.append((self.used, self.incumbent))
        start = self.surface.bpb(constants.read(BASELINE))
        reachable = start - descent(self.seed)
        reached = [[source for at, source in self.curve if at <= mark][-1] for mark in marks]
        gains = [(start - self.surface.bpb(constants.read(source))) / reachable for source in reached]
        crashes = sum(trial.verdict == "crash" for trial in self.history)
        return NightResult(tuple(gains), self.proposing_s / len(self.history), crashes)

    def _turn(self) -> None:
        n, parent = len(self.history) + 1, self._parent()
        directive, sigma = policy.next_directive(self.history, n), self.noise.sigma_score
        task = TaskFacts(seq_len=SEQ_LEN)
        context = Context(parent, self.estimate.mean, sigma, "", task, "", self.history, directive, self.seed, n)
        started = time.perf_counter()
        idea = self.search(context)
        self.proposing_s += time.perf_counter() - started
        source = edits.apply(parent, idea.edits)
        trial = Trial(
            n, idea.proposer, "", "", idea.category, idea.edits, source, parent, "crash", "", None, sigma, None
        )
        try:
            decision, values = self._decide(source)
        except SimulatedCrash as crash:
            self.history.append(replace(trial, failure=Failure("diverged", str(crash))))
            return
        self.single_run_discards = 0 if len(values) > 1 else self.single_run_discards + 1
        verdict, mean = decision.verdict or "discard", statistics.fmean(values)
        self.history.append(replace(trial, verdict=verdict, delta_score=decision.delta_score, score=mean))
        if verdict == "keep":
            self.incumbent, self.estimate = source, after_keep(values, self.estimate, self.noise)

    def _parent(self) -> str:
        """Return what the turn starts from: the incumbent, or an ancestor on a deep plateau."""
        ancestor = policy.branch_point(self.history)
        if ancestor is None:
            return self.incumbent
        return self.history[ancestor - 1].source if ancestor else BASELINE

    def _decide(self, source: str) -> tuple[Decision, list[float]]:
        values = [self._run(source)]
        while (decision := decide(values, self.estimate, self.noise)).verdict is None:
            if decision.rerun == "candidate":
                values.append(self._run(source))
            else:
                self._rerun_incumbent()
        return decision, values

    def _rerun_incumbent(self) -> None:
        self.estimate, self.single_run_discards = self.estimate.add(self._run(self.incumbent)), 0

    def _run(self, source: str) -> float:
        self.used += 1
        return self.surface.bpb(constants.read(source)) + self.rng.gauss(0, self.noise.sigma_score)


def night(job: tuple[str, float, int, Sequence[int]]) -> NightResult:
    """Play one night in a process of its own: name of the search, sigma, seed, marks."""
    *setting, marks = job
    return SimulatedNight(*setting).play(marks)


def table(nights: Mapping[str, Sequence[NightResult]], sigma: float, marks: Sequence[int]) -> str:
    """Format a row a search: mean share of the reachable gain at each mark, and the difference to the tuner's."""
    ours = nights["tuner"]
    columns = ["search", *(f"{mark} runs" for mark in marks), "difference to the tuner", "crashes", "s a proposal"]
    lines = [
        f"### sigma {sigma:g} bpb, {len(ours)} surfaces\n",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for name, rows in nights.items():
        shares = " | ".join(f"{statistics.fmean(row.gains[i] for row in rows):.0%}" for i in range(len(marks)))
        paired = [row.gains[-1] - own.gains[-1] for row, own in zip(rows, ours, strict=True)]
        error = statistics.stdev(paired) / math.sqrt(len(paired)) if len(paired) > 1 else math.nan
        difference = "" if rows is ours else f"{statistics.fmean(paired):+.0%} ± {error:.0%}"
        crashes, seconds = (statistics.fmean(v) for v in ([r.crashes for r in rows], [r.proposing_s for r in rows]))
        lines.append(f"| {name} | {shares} | {difference} | {crashes:.1f} | {seconds:.3f} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> int:
    options = parser("simulations search", __doc__)
    options.add_argument("--surfaces", type=int, default=24)
    options.add_argument("--only", metavar="NAME", choices=SEARCHES, help="compare this search alone with the tuner")
    options.add_argument("--runs", type=int, default=MARKS[-1], help="of a night")
    options.add_argument("--workers", type=int, default=2)
    args = options.parse_args(argv)
    surfaces, sigmas, marks = (1, (0.012,), (10, 20)) if args.quick else (args.surfaces, (0.003, 0.012), MARKS)
    marks = tuple(mark for mark in marks if mark <= args.runs)
    names = [name for name in SEARCHES if args.only in (None, name) or name == "tuner"]
    print(f"`{command_line()}` ({machine.facts().describe()}, {date.today()})\n")
    with ProcessPoolExecutor(args.workers) as pool:
        for sigma in sigmas:
            jobs = [(name, sigma, seed, marks) for name in names for seed in range(surfaces)]
            done = list(pool.map(night, jobs))
            rows = {name: done[i * surfaces : (i + 1) * surfaces] for i, name in enumerate(names)}
            print(table(rows, sigma, marks), flush=True)
    return 0
