"""How much one run scatters: sigma from replicates, the share of it that is the machine's speed, and its drift.

Sigma is the standard deviation of val_bpb over runs of one unchanged file, with the seed and row order fresh each time.
It is measured from replicates and never from proposals, whose spread says how different the ideas were. Three baseline
runs fix sigma only to a factor of 0.5 to 6, so every later replicate is pooled in and the result is shrunk towards what
this machine showed on this task before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Noise:
    """Sigma of one run and the degrees of freedom behind it."""

    sigma_bpb: float
    df: float


# The field reports 0.002 (large accelerators) to 0.03 bpb (laptops): one degree of freedom spans it (a factor of 9 in
# two standard deviations of log sigma) and is outweighed by the first three runs.
DEFAULT = Noise(0.012, 1.0)
CACHED_DF = 12.0  # the most that earlier nights count for: machines change their habits between nights


def pool(groups: Iterable[Sequence[float]], prior: Noise | None = None) -> Noise:
    """Sigma from groups of replicates (bpb; each group one unchanged file), shrunk towards `prior`.

    Pass only runs that were not selected for their value: `Estimate.unselected`. Groups of fewer than two say nothing.
    """
    prior = DEFAULT if prior is None else Noise(prior.sigma_bpb, min(prior.df, CACHED_DF))
    squares, df = 0.0, 0
    for runs in groups:
        if len(runs) >= 2:
            mean = fmean(runs)
            squares += sum((run - mean) ** 2 for run in runs)
            df += len(runs) - 1
    if df == 0 or squares == 0.0:
        return prior
    weight, prior_weight = df, prior.df
    log_sigma = (weight * 0.5 * math.log(squares / df) + prior_weight * math.log(prior.sigma_bpb)) / (
        weight + prior_weight
    )
    return Noise(math.exp(log_sigma), df + prior.df)
