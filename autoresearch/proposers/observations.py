"""The night's experiments as settings of the incumbent's constants, and what they came to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.records import Trial
from autoresearch.space import Space, Values
from autoresearch.versions import Version, candidate, version


@dataclass(frozen=True, slots=True)
class Observation:
    """One setting of all axes. `level` is in bpb on the scale of `Observations`; None: it has no val_bpb."""

    values: Values
    before: Values  # of the version that it changed
    level: float | None

    @property
    def moved(self) -> set[str]:
        return {name for name, value in self.values.items() if self.before[name] != value}


@dataclass(frozen=True, slots=True)
class Observations:
    """Levels of all trials on one scale, the first version's being 0, and where the incumbent stands on it.

    A trial's difference was measured against the incumbent of its time, so the gains of the keeps before it are
    subtracted. The gain of a change of code is not: that shifts the trials of the old code by the measured effect, so
    that they speak for the new one.
    """

    trials: tuple[Observation, ...]
    level: float


def observe(space: Space, incumbent: Version, history: Sequence[Trial]) -> Observations:
    """The trials that set constants in the incumbent's code or in that of the versions it came from.

    An axis that an older version lacks is taken to stand where the incumbent has it. Nothing is observed where the
    incumbent's code came from elsewhere: a person's commit, say.
    """
    code = version(history[0].parent_source).structure if history else incumbent.structure
    level, trials = 0.0, []
    for trial in history:
        tried, before = candidate(trial), version(trial.parent_source)
        kept, same_code = trial.verdict == "keep", tried.structure == before.structure
        if same_code and before.structure == code:
            reached = None if trial.delta_bpb is None else level - trial.delta_bpb
            trials.append(Observation(_filled(space, tried), _filled(space, before), reached))
        if kept and same_code:
            level -= trial.delta_bpb or 0.0
        code = tried.structure if kept else code
    return Observations(tuple(trials), level) if code == incumbent.structure else Observations((), 0.0)


def _filled(space: Space, tried: Version) -> Values:
    return {**space.current, **space.values(tried.constants)}
