"""The night's experiments as settings of the incumbent's constants, and what they came to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.candidate.versions import Version, trial_version, version
from autoresearch.records import Trial
from autoresearch.search.tuner.space import Space, Values


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
    """Levels of all trials on one scale, the first version's being 0, and where the version to be changed stands on it.

    A trial's difference was measured against the incumbent of its time, so the gains of the keeps before it are
    subtracted. The gain of a change of code is not: that shifts the trials of the old code by the measured effect, so
    that they speak for the new one.
    """

    trials: tuple[Observation, ...]
    level: float


def observe(space: Space, start: Version, history: Sequence[Trial]) -> Observations:
    """The trials that set constants in the code of the incumbents of the night; `start` is the one to be changed.

    An axis that an older version lacks is taken to stand where `start` has it. Nothing is observed where the code of
    `start` came from elsewhere: a person's commit, say.
    """
    code = version(history[0].parent_source).structure if history else start.structure
    codes, level, level_of_start, trials = {code}, 0.0, 0.0, []
    for trial in history:
        tried, before = trial_version(trial), version(trial.parent_source)
        kept, same_code = trial.verdict == "keep", tried.structure == before.structure
        if same_code and before.structure == code:
            reached = None if trial.delta_bpb is None else level - trial.delta_bpb
            trials.append(Observation(_filled(space, tried), _filled(space, before), reached))
        if kept:
            code, level = tried.structure, level - (trial.delta_bpb or 0.0) * same_code
            codes.add(code)
        if kept and tried == start:
            level_of_start = level
    return Observations(tuple(trials), level_of_start) if start.structure in codes else Observations((), 0.0)


def _filled(space: Space, tried: Version) -> Values:
    return {**space.current, **space.values(tried.constants)}
