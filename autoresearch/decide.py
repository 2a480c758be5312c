"""The keep rule: is a candidate better than the incumbent, or is one more run needed to say? Pure functions.

Differences are `incumbent - candidate`, in bits per byte: positive is better. Sigma is the standard deviation of one
run, measured by noise.py.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch.noise import Noise
from autoresearch.records import Decision

CONFIRMED_BY = 2.0  # sigma: a first difference this large needs only a second run that does not contradict it
CONFIRMED_MEAN = 0.3  # sigma: the mean of both runs is then at least this much better
KEEP_Z = 0.7
MAX_RUNS = 3  # of a candidate before the verdict
INCUMBENT_RUNS = 3  # an estimate of fewer is topped up while a candidate is being confirmed
SIMPLER_Z = -0.5
SIMPLER_BUDGET = 0.5  # sigma: what simplifications may concede in a night, or they ratchet downwards


@dataclass(frozen=True, slots=True)
class Estimate:
    """The runs of one candidate (bpb). The first `selected` were picked for luck: others, if any, speak."""

    runs: tuple[float, ...]
    selected: int = 0

    def __post_init__(self) -> None:
        if not self.runs or not all(math.isfinite(run) for run in self.runs):
            raise ValueError(f"an estimate needs finite runs, got {self.runs}")

    @property
    def unselected(self) -> tuple[float, ...]:
        return self.runs[self.selected :]

    @property
    def counted(self) -> tuple[float, ...]:
        return self.unselected or self.runs

    @property
    def mean(self) -> float:
        return fmean(self.counted)

    @property
    def n(self) -> int:
        return len(self.counted)

    def add(self, bpb: float) -> Estimate:
        return replace(self, runs=(*self.runs, bpb))


def after_keep(candidate_runs: Sequence[float]) -> Estimate:
    """The new incumbent's estimate: its first run won the test and does not count once there are others."""
    return Estimate(tuple(candidate_runs), selected=1)


def decide(
    candidate: Sequence[float],
    incumbent: Estimate,
    noise: Noise,
    *,
    simplifies: bool = False,
    conceded_sigma: float = 0.0,
) -> Decision:
    """The verdict on all runs of the candidate so far, or which of the two runs next.

    `conceded_sigma` is what earlier simplification keeps of this night gave up: the sum of their losses in sigma.
    Raises ValueError on no runs or runs that are not finite.
    """
    sigma, n = noise.sigma_bpb, len(candidate)
    delta = incumbent.mean - Estimate(tuple(candidate)).mean
    z = delta / sigma / math.sqrt(1 / n + 1 / incumbent.n)
    side = "better" if delta > 0 else "worse"
    figure = f"{abs(delta):.4f} bpb {side} = {abs(delta) / sigma:.1f} sigma over {n} run{'s' if n > 1 else ''}"

    def say(verdict: str | None, rerun: str | None, why: str = "") -> Decision:
        return Decision(verdict, rerun, figure + why, delta, sigma, z)  # type: ignore[arg-type]

    if simplifies and n >= 2 and SIMPLER_Z <= z < KEEP_Z and conceded_sigma - min(delta / sigma, 0.0) <= SIMPLER_BUDGET:
        return say("keep", None, ", and simpler")
    if delta <= 0 and not (simplifies and n == 1 and z >= SIMPLER_Z):
        return say("discard", None)
    if n == 1:
        return say(None, "candidate", "; confirming")
    if incumbent.mean - candidate[0] >= CONFIRMED_BY * sigma and n == 2:
        return say("keep", None) if delta >= CONFIRMED_MEAN * sigma else say("discard", None, "; the first was luck")
    if incumbent.n < INCUMBENT_RUNS:
        return say(None, "incumbent", "; the incumbent has too few runs")
    if z >= KEEP_Z:
        return say("keep", None)
    if n < MAX_RUNS:
        return say(None, "candidate", "; undecided")
    return say("discard", None, "; not clear enough")


def simplifies(old_source: str, new_source: str) -> bool:
    """Fewer syntax nodes, a value of literals counting as one: `LR = 2 ** -4` -> `LR = 0.06` is not simpler."""
    return _size(new_source) < _size(old_source)


def _size(source: str) -> int:
    return sum(1 for _ in ast.walk(ast.parse(source)))
