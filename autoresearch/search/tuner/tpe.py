"""Ask Optuna's tree-structured Parzen estimator (TPE) for settings. No other module imports Optuna.

Each call makes a new study in memory and adds all known settings to it, so nothing has to be stored between turns, and
the ranges may follow the incumbent.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autoresearch.search.tuner.axes import Axis
from autoresearch.search.tuner.space import Values

if TYPE_CHECKING:
    import optuna


def suggestions(axes: Sequence[Axis], told: Sequence[tuple[Values, float | None]], seed: int) -> Iterator[Values]:
    """Yield settings of `axes` that may have a lower objective than those in `told`; it never ends.

    An objective of None is a crash. It is added as pruned, which TPE counts among the bad settings; it would ignore a
    failed trial and suggest the same setting again. Suggestions count as bad until they are told, so that successive
    ones differ.
    """
    import optuna  # takes a third of a second, which only a night with the tuner pays

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {axis.key: _distribution(axis) for axis in axes}
    with warnings.catch_warnings():  # before Optuna 5 both options were experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    study.add_trials([_trial(axes, distributions, values, objective) for values, objective in told])
    while True:
        asked = study.ask(fixed_distributions=distributions).params
        yield {a.name: asked[a.key] if a.scale == "choice" else a.at(asked[a.key]) for a in axes}


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(axis.grid) if axis.scale == "choice" else FloatDistribution(axis.low, axis.high)


def _trial(
    axes: Sequence[Axis], distributions: dict[str, Any], values: Values, objective: float | None
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    places = {a.key: values[a.name] if a.scale == "choice" else a.coordinate(values[a.name]) for a in axes}
    state = TrialState.PRUNED if objective is None else TrialState.COMPLETE
    return create_trial(state=state, value=objective, params=places, distributions=distributions)
