"""Convert the night's experiments to settings of the incumbent's axes with comparable results. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.candidate.versions import Version, trial_version, version
from autoresearch.records import Trial
from autoresearch.search.tuner.space import Space, Values


@dataclass(frozen=True, slots=True)
class Observation:
    """Setting of all axes that was tried, and its result."""

    values: Values
    before: Values  # the setting that it changed
    level: float | None  # bpb on the scale of `Observations`; None: no val_bpb

    @property
    def moved(self) -> set[str]:
        """The names of the axes that it changed."""
        return {name for name, value in self.values.items() if self.before[name] != value}


@dataclass(frozen=True, slots=True)
class Observations:
    """Trials on one scale of levels, on which the first version of the night is 0.

    Each trial was measured against the incumbent of its time, so the gains of earlier keeps are subtracted from its
    level. Gains of keeps that changed code are not subtracted: trials of the old code then count for the new code as if
    they had gained the same.
    """

    trials: tuple[Observation, ...]
    level: float  # of the version to be changed


def observe(space: Space, start: Version, history: Sequence[Trial]) -> Observations:
    """Return the trials that set constants in the code of the night's incumbents; `start` is the version to be changed.

    An axis that an older version lacks gets its value in `start`. The result is empty when the code of `start` is not
    from this night, as after a commit by the user.
    """
    code = version(history[0].parent_source).structure if history else start.structure
    codes, level, level_of_start, trials = {code}, 0.0, 0.0, []
    for trial in history:
        tried, before = trial_version(trial), version(trial.parent_source)
        kept, same_code = trial.verdict == "keep", tried.structure == before.structure
        if same_code and before.structure == code:
            reached = None if trial.delta_score is None else level - trial.delta_score
            trials.append(Observation(_filled(space, tried), _filled(space, before), reached))
        if kept:
            code, level = tried.structure, level - (trial.delta_score or 0.0) * same_code
            codes.add(code)
        if kept and tried == start:
            level_of_start = level
    return Observations(tuple(trials), level_of_start) if start.structure in codes else Observations((), 0.0)


def _filled(space: Space, tried: Version) -> Values:
    """Return the setting of all axes in `tried`, with the incumbent's values for axes that it lacks."""
    return {**space.current, **space.values(tried.constants)}
