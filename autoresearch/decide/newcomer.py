"""Decide whether a machine that joins a fleet measures as the others of its class do. No I/O.

It makes runs of a version that its class has measured: the newcomer's n runs are compared with the m runs of the
class's estimate by

    z = (mean of the newcomer - mean of the class) / (sigma * sqrt(1/n + 1/m))

The divisor is the standard error of a difference of two means, since both are known from a few runs only. Against sigma
of one run alone a newcomer would have to be further off the fewer runs it makes. Sigma is that of the class, pooled
with how the newcomer's own runs differ (the pooled variance of a two-sample t test). It is also known from few runs:
the class's first night begins with three. So a z above 3 decides at once only where it is above the t of the same
probability, too; in between the newcomer makes two runs more, up to six, which tell sigma and the mean better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from autoresearch.decide.exact import same
from autoresearch.decide.keep_rule import Estimate, limit
from autoresearch.decide.noise import Noise
from autoresearch.metrics import VAL_BPB, Metric

MOST_Z = 3.0  # standard errors that a newcomer may be off
RUNS, MOST_RUNS = 2, 6  # of a newcomer: at first, and where these do not tell


@dataclass(frozen=True, slots=True)
class Compared:
    """A newcomer against its class. With a `verdict` of None it makes RUNS more runs first."""

    verdict: Literal["alike", "other"] | None
    shift_score: float  # the newcomer's mean minus the class's: positive is worse
    z: float | None  # in standard errors of that difference; None where runs of one version do not differ


def compare(own: Sequence[float], known: Estimate, noise: Noise, metric: Metric = VAL_BPB) -> Compared:
    """Compare a newcomer's scores `own` with the class's estimate `known` of the same version.

    >>> compare([1.00, 1.01], Estimate((1.0, 1.02, 1.01)), Noise(0.01, 12)).verdict
    'alike'
    >>> compare([1.10, 1.11], Estimate((1.0, 1.02, 1.01)), Noise(0.01, 12)).verdict
    'other'

    Where runs of one version do not differ at all, any difference counts.
    """
    shift = fmean(own) - known.mean
    if noise.exact:
        alike = all(same(score, known.mean, metric) for score in own)
        return Compared("alike", 0.0, None) if alike else Compared("other", shift, None)
    squares, df = sum((score - fmean(own)) ** 2 for score in own), noise.df + len(own) - 1
    sigma = math.sqrt((noise.df * noise.sigma_score**2 + squares) / df)
    z = shift / (sigma * math.sqrt(1 / len(own) + 1 / known.n))
    if abs(z) <= MOST_Z:
        return Compared("alike", shift, z)
    told = abs(z) > limit(MOST_Z, df) or len(own) >= MOST_RUNS
    return Compared("other" if told else None, shift, z)
