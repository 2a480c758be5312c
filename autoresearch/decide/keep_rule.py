"""Decide whether a candidate is better than the incumbent, or which of the two runs once more to find out. No I/O.

All figures are scores, lower is better; a difference is `incumbent - candidate`, so positive is better. How they
scatter depends on the metric (`Metric.scatter`). An exact one never scatters and has a rule of its own (exact.py). For
the others sigma is the standard deviation of one run: a noisy one's is measured (noise.py), and a count's is binomial
(counts.py). With n runs of the candidate and m of the incumbent

    z = (mean of the incumbent - mean of the candidate) / (sigma * sqrt(1/n + 1/m))

A night has a fixed number of runs, and the rule spends them where they decide something:

    runs    z below            in between                       z above
    1       0.4: discard       -                                0.4: a second run, however good it looks
    2       0.4: discard       a third run                      1.4: keep
    3       0.75: discard      -                                0.75: keep

These are the limits for a sigma that is well known. Where it comes from few replicates, z follows Student's t, and each
limit is the t of the same probability: with the 2 degrees of freedom of a first night's three baseline runs 0.46, 2.2
and 0.92, with 10 of them 0.41, 1.5 and 0.78.

One run discards what does not look better, and never keeps: of many candidates the one that looks best was also lucky.
A simplification (candidate/complexity.py) is kept at a z down to -0.25, within a budget for the night. Before anything
is kept the incumbent itself has at least two runs. A gain below the metric's `min_gain` is not kept.

The limits are the flat top of a search by simulation (benchmarks/simulations/keep_rule.py): raising or lowering them
by 0.3 changes what a night gains by 4%, so they need no tuning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist, fmean
from typing import Literal

from autoresearch.decide import exact
from autoresearch.decide.cases import Cases
from autoresearch.decide.interval import t_cdf, t_quantile
from autoresearch.decide.noise import Noise
from autoresearch.formats import counted
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.records import Decision, Verdict

SECOND_RUN_Z = 0.4  # with less a candidate is discarded; two of three that change nothing end here, after one run
KEEP_Z = {2: 1.4, 3: 0.75}  # with this much a candidate is kept, by the number of its runs; the third is the last
SIMPLER_Z = -0.25  # with this much a simplification is kept
HOPELESS_SIGMA = 1.0  # above the incumbent; more than SIMPLER_Z and a correction for the machine's speed allow
SIMPLER_BUDGET_SIGMA = 0.5  # how far simplifications may lead above the night's best; without it they add up
MOST_SHRINKAGE_SIGMA = 2.0  # how far the pseudo-run of a new incumbent is from its own runs at most, in sigma of a run
DISCARDS_PER_RUN = 2  # discards in a row for each run of the incumbent (and one more) after which it runs again
BASELINE_EVERY = 30  # decided experiments between two runs of the baseline; they cost 2% of the gain and show drift
IMPLAUSIBLE_SIGMA = 8.0
IMPLAUSIBLE_RATIO = 2.0  # times the night's largest gain


@dataclass(frozen=True, slots=True)
class Estimate:
    """The score of one source, estimated from its runs.

    >>> Estimate((1.00, 1.02)).mean
    1.01

    The first `selected` runs led to the source being kept, so they are biased towards good values, and sigma must not
    be estimated from them. `pseudo_run` counts like one more run, see `after_keep`.
    """

    runs: tuple[float, ...]
    selected: int = 0
    pseudo_run: float | None = None

    def __post_init__(self) -> None:
        if not self.runs or not all(math.isfinite(run) for run in self.runs):
            raise ValueError(f"an estimate needs finite runs, got {self.runs}")

    @property
    def mean(self) -> float:
        return fmean(self._counted)

    @property
    def n(self) -> int:
        """The number of runs, the pseudo-run included."""
        return len(self._counted)

    @property
    def unselected(self) -> tuple[float, ...]:
        """The runs that sigma may be estimated from."""
        return self.runs[self.selected :]

    def add(self, score: float) -> Estimate:
        """Return the estimate with one more run that was not selected for its value: a re-run of the incumbent."""
        return replace(self, runs=(*self.runs, score))

    @property
    def _counted(self) -> tuple[float, ...]:
        return self.runs if self.pseudo_run is None else (*self.runs, self.pseudo_run)


def after_keep(candidate: Sequence[float], incumbent: Estimate, noise: Noise) -> Estimate:
    """Return the estimate of the new incumbent, from its runs and the estimate of the incumbent that it replaces.

    The runs of a kept candidate are too good on average, because lucky candidates are kept more often. So its estimate
    is shrunk towards the old incumbent, by a pseudo-run at the old incumbent's mean:

    >>> round(after_keep([0.98, 0.99], Estimate((1.00, 1.01, 0.99)), Noise(0.01, 10)).mean, 6)  # of 0.98, 0.99, 1.00
    0.99

    The pseudo-run is at most 2 sigma above the candidate's mean, so that a real leap is hardly held back:

    >>> after_keep([0.5, 0.5], Estimate((1.00, 1.01, 0.99)), Noise(0.01, 10)).pseudo_run
    0.52

    In simulated nights this gains more, and claims less gain that is not there, than to leave out the first run for
    having been selected: then one or two runs are left, and the next lucky candidate stays the incumbent for hours.
    """
    mean = fmean(candidate)
    above = min(max(incumbent.mean - mean, 0.0), MOST_SHRINKAGE_SIGMA * noise.sigma_score)
    return Estimate(tuple(candidate), selected=min(1, len(candidate)), pseudo_run=mean + above)


@lru_cache(maxsize=256)
def limit(z: float, df: float) -> float:
    """Return the limit for a z whose sigma has `df` degrees of freedom: the t of the same probability.

    >>> [round(limit(1.4, df), 2) for df in (2, 10, 1e6)]
    [2.18, 1.51, 1.4]
    """
    return math.copysign(t_quantile(NormalDist().cdf(abs(z)), max(1.0, df)), z)


def decide(
    candidate: Sequence[float],
    incumbent: Estimate,
    noise: Noise,
    *,
    metric: Metric = VAL_BPB,
    cases: Cases | None = None,
    simplifies: bool = False,
    given_up_sigma: float = 0.0,
) -> Decision:
    """Return the verdict on all runs of the candidate so far, or which of the two runs next.

    >>> decide([0.98], Estimate((1.0, 1.02, 1.01)), Noise(0.01, 5)).rerun
    'candidate'
    >>> decide([0.98, 0.99], Estimate((1.0, 1.02, 1.01)), Noise(0.01, 5)).reason
    '0.0250 bpb better = 2.5 sigma over 2 runs'

    `cases` are the incumbent's and the candidate's scores by case; only an exact metric is decided by them.
    `simplifies` says that the candidate is simpler than the incumbent, and `given_up_sigma` what the night's
    simplifications gave up before, see `given_up`. Raises ValueError without runs, or for runs that are not finite.
    """
    mean = Estimate(tuple(candidate)).mean
    if noise.exact:
        return exact.decide(mean, incumbent.mean, metric, cases, simplifies=simplifies)
    sigma, n, delta = noise.sigma_score, len(candidate), incumbent.mean - mean
    z = delta / sigma / math.sqrt(1 / n + 1 / incumbent.n)
    figure = _figure(delta, z, n, noise, metric)

    def verdict(verdict: Verdict, why: str = "") -> Decision:
        return Decision(verdict, None, figure + why, delta, sigma, z)

    def rerun(whose: Literal["candidate", "incumbent"], why: str) -> Decision:
        return Decision(None, whose, f"{figure}; {why}", delta, sigma, z)

    within_budget = given_up_sigma + max(0.0, -delta / sigma) <= SIMPLER_BUDGET_SIGMA
    simpler = simplifies and z >= limit(SIMPLER_Z, noise.df) and within_budget
    if z < limit(SECOND_RUN_Z, noise.df) and not simpler:
        return verdict("discard", "" if z < 0 else ", too little for another run" if n == 1 else ", not enough")
    if incumbent.n < 2:
        return rerun("incumbent", "the incumbent has been run only once")
    if n == 1:
        return rerun("candidate", "one run proves nothing")
    clear = z >= limit(KEEP_Z.get(n, KEEP_Z[max(KEEP_Z)]), noise.df)
    if clear and delta >= metric.min_gain:
        return verdict("keep")
    if simpler:
        return verdict("keep", ", and simpler")
    if clear:
        return verdict("discard", f", less than the {metric.size(metric.min_gain)} that a change has to gain")
    if n < max(KEEP_Z):
        return rerun("candidate", "not clear yet")
    return verdict("discard", ", not clear enough")


def _figure(delta: float, z: float, n: int, noise: Noise, metric: Metric) -> str:
    """Return how much better the candidate is, and by which test: "0.0250 bpb better = 2.5 sigma over 2 runs"."""
    size = metric.sided(delta)
    if metric.scatter == "counts":
        return f"{size}, binomial p = {1 - t_cdf(z, max(1.0, noise.df)):.2g} over {counted(n, 'run')}"
    return f"{size} = {abs(delta) / noise.sigma_score:.1f} sigma over {counted(n, 'run')}"


def hopeless_from(incumbent: Estimate, noise: Noise) -> float:
    """Return the score from which on a candidate is discarded after its first run, whatever else is known of it.

    >>> round(hopeless_from(Estimate((1.0, 1.02)), Noise(0.01, 5)), 6)
    1.02
    """
    return incumbent.mean + HOPELESS_SIGMA * noise.sigma_score


def given_up(incumbent: Estimate, best_score: float, noise: Noise) -> float:
    """Return how far the incumbent is above the night's best, in sigma: what simplifications have given up.

    >>> round(given_up(Estimate((1.004, 1.006)), 1.0, Noise(0.01, 10)), 6)
    0.5

    `best_score` is the lowest estimate of any incumbent of the night. The distance to it shows a chain of small losses.
    The sum of the losses as they were measured would hide it, since the simplifications that were kept were lucky.
    """
    return 0.0 if noise.exact else max(0.0, incumbent.mean - best_score) / noise.sigma_score


def incumbent_due(incumbent: Estimate, discards_in_a_row: int) -> bool:
    """Return whether the incumbent is run again before the next proposal.

    `discards_in_a_row` counts candidates that were discarded after one run, since one earned a second run and since the
    incumbent ran last. When none comes near, either the incumbent's estimate was lucky or the machine became slower; a
    new run of the incumbent corrects both, and says more the fewer runs it has: with 3 runs it is due after 8 discards.
    """
    return discards_in_a_row >= DISCARDS_PER_RUN * (1 + incumbent.n)


def baseline_due(decided_since: int) -> bool:
    """Return whether the baseline is run again, `decided_since` decided experiments after its last run.

    Incumbents change, and the baseline is the one source that is there all night, so drift of the machine shows in it.
    """
    return decided_since >= BASELINE_EVERY


def implausible(delta_score: float, kept_gains_score: Sequence[float], noise: Noise) -> bool:
    """Return whether a gain is so large that the candidate is scored again, in another way, before it is kept.

    With sigma 0.01 that is above 0.08, and above twice the largest gain that was kept tonight. What an exact metric
    says is true however large it is.
    """
    return delta_score > largest_plausible(kept_gains_score, noise)


def largest_plausible(kept_gains_score: Sequence[float], noise: Noise) -> float:
    """Return the largest gain that needs no second look; see `implausible`."""
    if noise.exact:
        return math.inf
    return max(IMPLAUSIBLE_SIGMA * noise.sigma_score, IMPLAUSIBLE_RATIO * max(kept_gains_score, default=0.0))
