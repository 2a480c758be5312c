"""The keep rule: is a candidate better than the incumbent, or is one more run needed to say? Pure functions.

Differences are `incumbent - candidate`, in bits per byte: positive is better. Sigma is the standard deviation of one
run, measured by noise.py. The bars are the flat top of a search by simulation (benchmarks/keep_rule.py): raising or
lowering them by 0.3 changes the night's gain by 4%, so they are worth no tuning.

A night has a fixed number of runs, so the rule spends them where they decide something. One run discards what does not
look better; nothing is kept on one run, however good, because the run that looks best was also lucky; two runs keep
what is clear, three settle the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch.decide.noise import Noise
from autoresearch.records import Decision, Verdict

LOOK_Z = 0.4  # below it a candidate is discarded; two of three that change nothing end here, after one run
KEEP_Z = {2: 1.4, 3: 0.75}  # the bar after two and after three runs; the third run is the last
ANCHOR_SIGMA = 2.0
CONTROL_PER_RUN = 2  # discards in a row, for each effective run of the incumbent and one more: then it is doubted
BASELINE_EVERY = 30  # decided experiments between two runs of the baseline: 2% of the gain, to see the machine drift
SIMPLER_Z = -0.25
SIMPLER_BUDGET = 0.5  # sigma: how far simplifications may lead below the night's best, or they ratchet downwards
IMPLAUSIBLE_SIGMA = 8.0
IMPLAUSIBLE_RATIO = 2.0  # times the night's largest gain


@dataclass(frozen=True, slots=True)
class Estimate:
    """The runs (bpb) of one file and what is believed of it.

    `anchor` counts as one more run: a new incumbent starts from where the old one stood, since most changes change
    little and the one that was kept was lucky. `selected` of the first runs were looked at because they were good; they
    say nothing about sigma or drift, so noise.py is given `unselected`.
    """

    runs: tuple[float, ...]
    selected: int = 0
    anchor: float | None = None

    def __post_init__(self) -> None:
        if not self.runs or not all(math.isfinite(run) for run in self.runs):
            raise ValueError(f"an estimate needs finite runs, got {self.runs}")

    @property
    def mean(self) -> float:
        return fmean(self._counted)

    @property
    def n(self) -> int:
        """Effective runs, the anchor included."""
        return len(self._counted)

    @property
    def unselected(self) -> tuple[float, ...]:
        return self.runs[self.selected :]

    def add(self, bpb: float) -> Estimate:
        """With one more run that was not selected: a control."""
        return replace(self, runs=(*self.runs, bpb))

    @property
    def _counted(self) -> tuple[float, ...]:
        return self.runs if self.anchor is None else (*self.runs, self.anchor)


def after_keep(candidate: Sequence[float], incumbent: Estimate, noise: Noise) -> Estimate:
    """The estimate of the new incumbent from its runs so far and the incumbent that it replaces.

    Counting every run and one at the old estimate gains more, and claims less that is not there, than leaving out the
    first run for having been selected: what is left is one or two runs, and the next lucky one stays for hours. The
    anchor is never further than 2 sigma away, so that a real leap is not held back.
    """
    mean = fmean(candidate)
    anchor = mean + min(max(incumbent.mean - mean, 0.0), ANCHOR_SIGMA * noise.sigma_bpb)
    return Estimate(tuple(candidate), selected=min(1, len(candidate)), anchor=anchor)


def decide(
    candidate: Sequence[float],
    incumbent: Estimate,
    noise: Noise,
    *,
    simplifies: bool = False,
    given_up_sigma: float = 0.0,
) -> Decision:
    """The verdict on all runs of the candidate so far, or which of the two runs next.

    >>> decide([0.98, 0.99], Estimate((1.0, 1.02, 1.01)), Noise(0.01, 5)).reason
    '0.0250 bpb better = 2.5 sigma over 2 runs'

    `given_up_sigma` is what earlier simplifications of this night gave up, see `given_up`.
    Raises ValueError on no runs or runs that are not finite.
    """
    sigma, n = noise.sigma_bpb, len(candidate)
    delta = incumbent.mean - Estimate(tuple(candidate)).mean
    z = delta / sigma / math.sqrt(1 / n + 1 / incumbent.n)
    side = "better" if delta > 0 else "worse"
    figure = f"{abs(delta):.4f} bpb {side} = {abs(delta) / sigma:.1f} sigma over {n} run{'s' if n > 1 else ''}"

    def verdict(verdict: Verdict, why: str = "") -> Decision:
        return Decision(verdict, None, figure + why, delta, sigma, z)

    simpler = simplifies and z >= SIMPLER_Z and given_up_sigma + max(0.0, -delta / sigma) <= SIMPLER_BUDGET
    if z < LOOK_Z and not simpler:
        return verdict("discard", "" if z < 0 else ", too little for another run" if n == 1 else ", not enough")
    if incumbent.n < 2:
        return Decision(None, "incumbent", figure + "; the incumbent has been run only once", delta, sigma, z)
    if n == 1:
        return Decision(None, "candidate", figure + "; one run proves nothing", delta, sigma, z)
    if z >= KEEP_Z.get(n, KEEP_Z[max(KEEP_Z)]):
        return verdict("keep")
    if simpler:
        return verdict("keep", ", and simpler")
    if n < max(KEEP_Z):
        return Decision(None, "candidate", figure + "; not clear yet", delta, sigma, z)
    return verdict("discard", ", not clear enough")


def given_up(incumbent: Estimate, best_bpb: float, noise: Noise) -> float:
    """How far the incumbent is above the night's best, in sigma; for `decide`.

    `best_bpb` is the lowest mean that an incumbent had when it was kept. Against it, a chain of small losses shows; the
    sum of each one's measured loss hides it, since those that were kept were lucky.
    """
    return max(0.0, incumbent.mean - best_bpb) / noise.sigma_bpb


def incumbent_due(incumbent: Estimate, in_a_row: int) -> bool:
    """Whether the incumbent runs again before the next proposal, `in_a_row` discards on a single run later.

    When nobody comes near, the incumbent's estimate was lucky or the machine has become slower; in either case its own
    new run is worth more than one more candidate, and the more so the fewer it has. The count starts again with a
    candidate that earns a second run, and with any run of the incumbent.
    """
    return in_a_row >= CONTROL_PER_RUN * (1 + incumbent.n)


def baseline_due(decided_since: int) -> bool:
    """Whether the baseline runs again, `decided_since` experiments after its last run.

    Incumbents come and go; the machine's drift shows in the one file that is there all night.
    """
    return decided_since >= BASELINE_EVERY


def implausible(delta_bpb: float, kept_gains_bpb: Sequence[float], noise: Noise) -> bool:
    """Whether an improvement is so far beyond the night's largest that it is evaluated again, otherwise, first."""
    largest = max(kept_gains_bpb, default=0.0)
    return delta_bpb > max(IMPLAUSIBLE_SIGMA * noise.sigma_bpb, IMPLAUSIBLE_RATIO * largest)
