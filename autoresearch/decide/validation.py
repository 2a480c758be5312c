"""Read the result of a night: which experiment is its baseline, and what the final validation says of the winner.

`status`, the report, `validate`, `export`, `compare` and the exit code of `validate` all take both from here. No I/O.

The final validation trains baseline and winner afresh, in rounds: round i gives each of them one run of purpose
`final` with seed FIRST_SEED + i, scored on the test split. So the runs of a round are paired by their seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from autoresearch.decide import estimates
from autoresearch.decide.interval import Interval, paired
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Role

LEAST_ROUNDS = 2  # an interval needs two differences


class Versioned(Protocol):
    """Anything that is either a baseline or a change to a parent."""

    @property
    def role(self) -> Role: ...


Node = TypeVar("Node", bound=Versioned)


def root(x: Node | None, parent: Callable[[Node], Node | None]) -> Node | None:
    """Follow `parent` from `x` to the baseline that its line grew from; None where the line ends before one.

    With #0 a baseline, #1 made from #0, #5 a second baseline and #6 made from #5: root(#1) is #0, root(#6) is #5.
    """
    while x is not None and x.role != "baseline":
        x = parent(x)
    return x


def baseline_of(night: Night) -> Experiment | None:
    """Return the baseline that the incumbent's line grew from, or None where no baseline was measured to its end.

    A night has a second baseline after an update of MLX or commits of the user's. The results of the first one do not
    compare with those of the new line, so it is no longer the baseline once the second is measured. A baseline that
    failed or was abandoned is never the incumbent's: it is passed over.
    """
    found = _baseline_under(night, night.incumbent)
    return found if found is not None and found.scores else None


def final_scores(x: Experiment) -> dict[int, float]:
    """Return the val_bpb of the final runs of `x` (on the test split), by the seed of the round."""
    runs = [(r.seed, r.measurement) for r in x.runs.values() if r.purpose == "final" and r.measurement]
    return {seed: m.score for seed, m in runs if m.score is not None}


def rounds(night: Night, x: Experiment) -> list[tuple[float, float]]:
    """Return (baseline, x) in bits per byte for each round that both finished.

    Baseline {9: 1.60, 10: 1.62} and x {9: 1.55, 11: 1.53}, by seed -> [(1.60, 1.55)].
    """
    baseline = baseline_of(night)
    theirs, ours = final_scores(baseline) if baseline else {}, final_scores(x)
    return [(theirs[seed], ours[seed]) for seed in ours if seed in theirs]


def winner_of(night: Night) -> Experiment | None:
    """Return the candidate of the baseline's line with the most rounds (the later one of two), or None without any."""
    baseline = baseline_of(night)
    line = [x for x in night.decided if x.role == "candidate" and _baseline_under(night, x) is baseline]
    validated = [x for x in line if rounds(night, x)]
    return max(validated, key=lambda x: (len(rounds(night, x)), x.n), default=None)


def validated(night: Night) -> Interval | None:
    """Return the interval of the winner's gain over the baseline, or None before two rounds."""
    winner = winner_of(night)
    whole = rounds(night, winner) if winner else []
    return paired(whole) if len(whole) >= LEAST_ROUNDS else None


def text(night: Night) -> str | None:
    """Return the search's figure and the validated figure of the winner side by side; None before a validation."""
    interval, winner, baseline = validated(night), winner_of(night), baseline_of(night)
    if interval is None or winner is None or baseline is None:
        return None
    now = estimates.read(night)
    gain = now.estimate(baseline).mean - now.estimate(winner).mean
    whose = "" if winner.n == night.incumbent_n else f" (both of #{winner.n}, which is not the branch's last)"
    return f"search: {gain:.4f} bpb better (optimistic); validated on the test split: {interval}{whose}"


def _baseline_under(night: Night, x: Experiment | None) -> Experiment | None:
    return root(x, lambda x: None if x.parent_n is None else night.experiments[x.parent_n])
