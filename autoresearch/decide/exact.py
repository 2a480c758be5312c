"""Decide on candidates by a metric whose runs do not scatter, so that one run of a version is enough. No I/O.

With a sigma of 0, the rule for noisy metrics would keep any difference, however small. Instead of sigma it takes:

- With scores by case the question is whether the candidate would also be better on other cases. The paired test
  (cases.py) answers it: a candidate is kept at a one-sided p of 0.05 or less. Of candidates that change nothing it
  keeps about two in a hundred, as the rule for noisy metrics does.
- Without cases the number itself is the aim (the size of a file, say). A candidate is kept where it is better by the
  metric's `min_gain`.

A candidate that is as good as the incumbent is discarded, and kept where it is simpler.
"""

from __future__ import annotations

from autoresearch.decide import cases as by_case
from autoresearch.decide.cases import Cases
from autoresearch.metrics import Metric
from autoresearch.records import Decision, Verdict

KEEP_P = 0.05  # one-sided, of the paired test
SAME = 1e-12  # relative difference up to which two scores are the same: sums are rounded


def same(a: float, b: float, metric: Metric) -> bool:
    """Return whether two scores differ by rounding at most; a score on a log scale tells a share of the value."""
    return abs(a - b) <= SAME * max(1.0 if metric.scale == "log" else 0.0, abs(a), abs(b))


def decide(
    candidate: float, incumbent: float, metric: Metric, cases: Cases | None = None, *, simplifies: bool = False
) -> Decision:
    """Return the verdict on a candidate's score; it never asks for another run.

    >>> metric = Metric(name="size", unit="kB", scatter="exact", min_gain=0.5)
    >>> decide(11.9, 12.0, metric).reason
    '0.1 kB better, less than the 0.5 kB that a change has to gain'
    """
    delta = incumbent - candidate

    tie = same(candidate, incumbent, metric)
    size = "the same value" if tie else metric.sided(delta)

    def verdict(verdict: Verdict, why: str = "") -> Decision:
        return Decision(verdict, None, size + why, delta)

    if (tie and not simplifies) or (delta < 0 and not tie):
        return verdict("discard")
    if simplifies:
        return verdict("keep", ", and simpler")
    if delta < metric.min_gain:
        return verdict("discard", f", less than the {metric.size(metric.min_gain)} that a change has to gain")
    if cases is None:
        return verdict("keep", "; the metric is exact")
    if len(cases[0]) != len(cases[1]):
        return verdict("discard", f", but over {len(cases[1])} cases, where the incumbent has {len(cases[0])}")
    if len(cases[0]) < 2:
        return verdict("keep", "; the metric is exact")
    test = by_case.compare(cases)
    clear = test.p <= KEEP_P
    return verdict("keep" if clear else "discard", f", {test}" + ("" if clear else ", which may be chance"))
