"""The one door to Optuna: settings that its tree-structured Parzen estimator suggests after the settings told to it.

Optuna is asked afresh each time: the study lives in memory and is told everything before it is asked, so that nothing
has to be stored, and the ranges may follow the incumbent.
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
    """Values of `axes`, without end, for a lower objective than those in `told`; None there is a crash.

    A crash is told as pruned, which TPE counts among the bad settings; a failed trial it would leave out, and ask for
    the same again. No two suggestions are drawn blindly from the same place: those not yet told count as bad, too.
    """
    import optuna  # a third of a second, which only a night with a tuner pays

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
