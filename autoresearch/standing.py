"""Where the night stands, in the keep rule's terms: from the journal's Night to values, estimates and noise. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.decide import Estimate, after_keep
from autoresearch.night import Experiment, Night, Run
from autoresearch.noise import Noise, SpeedFit, pool, speed_fit


@dataclass(frozen=True, slots=True)
class Standing:
    """One reading of the night. `fit` takes the machine's speed of the moment out of a value, where that is proven."""

    noise: Noise
    fit: SpeedFit | None

    def value(self, run: Run) -> float | None:
        """val_bpb of a run, at the machine's usual speed where that is known."""
        m = run.measurement
        if m is None or m.val_bpb is None:
            return None
        return self.fit.adjust(m.val_bpb, m.speed_index) if self.fit and m.speed_index else m.val_bpb

    def values(self, x: Experiment, *purposes: str) -> list[float]:
        runs = [r for r in x.runs.values() if r.purpose in (purposes or ("search", "confirm"))]
        return [value for run in runs if (value := self.value(run)) is not None]

    def estimate(self, x: Experiment) -> Estimate:
        """What is believed of an experiment that became the incumbent: its runs, its anchor, its controls.

        Raises ValueError where it has no measured run.
        """
        runs = self.values(x)
        estimate = Estimate(tuple(runs))
        if x.role == "candidate" and x.delta_bpb is not None and x.sigma_bpb is not None:
            replaced = Estimate((estimate.mean + x.delta_bpb,))
            estimate = after_keep(runs, replaced, Noise(x.sigma_bpb, 1.0))
        for control in self.values(x, "control"):
            estimate = estimate.add(control)
        return estimate


def read(night: Night, prior: Noise | None = None) -> Standing:
    groups = night.replicates()
    pairs = [[(m.speed_index, m.val_bpb) for r in group if (m := r.measurement)] for group in groups]
    complete = [[(speed, bpb) for speed, bpb in group if speed and bpb] for group in pairs]
    fit = speed_fit(complete)
    raw = Standing(pool([], prior), fit)
    return Standing(pool([[v for r in group if (v := raw.value(r)) is not None] for group in groups], prior), fit)


def conceded_sigma(night: Night) -> float:
    """What the simplification keeps of this night gave up so far, in sigma."""
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    return sum(-x.delta_bpb / x.sigma_bpb for x in keeps if x.delta_bpb and x.sigma_bpb and x.delta_bpb < 0)


def kept_gains(night: Night) -> list[float]:
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    return [x.delta_bpb for x in keeps if x.delta_bpb is not None]
