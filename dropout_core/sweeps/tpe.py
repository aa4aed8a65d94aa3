"""Optuna's tree-structured Parzen estimator and its importances, by ask and tell.

Optuna keeps nothing: each call builds a study in memory from trials and their scores.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dropout_core.config import SweepConfig
from dropout_core.config.space import Choice, Integer, LogUniform, Parameter, Uniform, as_json
from dropout_core.config.sweep import Direction
from dropout_core.sweeps.course import Standing
from dropout_core.sweeps.objectives import Scores
from dropout_core.sweeps.samplers import Used, random_draws, seed_of
from dropout_core.sweeps.space import Values, values_at

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_MAX_PROPOSALS = 8
_LEAST_TRIALS = 4
"""Fewer trials say nothing about importance."""


def proposed(
    config: SweepConfig,
    told: Sequence[Standing],
    *,
    start: int,
    stop: int,
    earlier: Sequence[Values],
    window_begin: int,
) -> list[Values]:
    """Return the values of the trials from number `start` to `stop`, which are of one window.

    `earlier` are the values of all trials before, `told` how those of earlier windows stand. The
    others, from number `window_begin`, count as running.
    """
    study = _study(_directions(config))
    for standing in told:
        study.add_trial(_as_told(config, earlier[standing.number], standing))
    for values in earlier[window_begin:]:
        study.add_trial(_as_running(config, values))
    used = Used(config, earlier)
    found: list[Values] = []
    for number in range(start, stop):
        values = used.first_new(_proposals(config, study, number))
        study.add_trial(_as_running(config, values))
        found.append(values)
    return found


def importance(
    config: SweepConfig, trials: Sequence[tuple[Values, Scores | None]]
) -> dict[str, float] | None:
    """Return how much each parameter matters for being among the best tenth of the trials.

    The trials are given from the best to the worst; with two objectives their scores count instead.
    PED-ANOVA (Watanabe et al. 2023), of which Optuna's form serves conditions and Pareto fronts.
    The numbers sum to 1. None if there are fewer than four trials.
    """
    import optuna

    if len(trials) < _LEAST_TRIALS:
        return None
    has_scores = len(config.objective) > 1
    study = _study(_directions(config) if has_scores else ["minimize"])
    for rank, (values, scores) in enumerate(trials):
        study.add_trial(
            optuna.trial.create_trial(
                values=list(scores) if has_scores and scores is not None else [float(rank)],
                **_parameters(config, values),
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the estimate is rough
        found = optuna.importance.get_param_importances(study)
    return {pointer: float(found.get(pointer, 0.0)) for pointer in config.pointers}


def _study(directions: Sequence[Direction]) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=directions)


def _directions(config: SweepConfig) -> list[Direction]:
    return ["maximize" if each.is_maximized else "minimize" for each in config.objective]


def _proposals(config: SweepConfig, study: "optuna.Study", number: int) -> Iterator[Values]:
    import optuna

    has_conditions = any(parameter.when for parameter in config.space.values())
    for attempt in range(_MAX_PROPOSALS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.TPESampler(
                seed=seed_of(config.seed, number, attempt), multivariate=True, group=has_conditions
            )
        trial = study.ask()
        values = _asked(config, trial)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)  # the sampler does not count it
        yield values
    yield from random_draws(config, number)


def _asked(config: SweepConfig, trial: "optuna.Trial") -> Values:
    def ask(pointer: str) -> Any:
        parameter = config.space[pointer]
        told = trial._suggest(pointer, _distribution(parameter))
        return parameter.choice[told] if isinstance(parameter, Choice) else told

    return values_at(config, ask)


def _as_told(config: SweepConfig, values: Values, standing: Standing) -> "FrozenTrial":
    """Return a trial that is over. One that failed is like one that was pruned at once: bad."""
    import optuna

    state = optuna.trial.TrialState
    if standing.scores is not None and standing.is_complete:
        known: dict[str, Any] = {"state": state.COMPLETE, "values": list(standing.scores)}
    elif standing.scores is not None:
        steps = {standing.epochs: standing.scores[0]}
        known = {"state": state.PRUNED, "intermediate_values": steps}
    else:
        known = {"state": state.PRUNED}
    return optuna.trial.create_trial(**known, **_parameters(config, values))


def _as_running(config: SweepConfig, values: Values) -> "FrozenTrial":
    import optuna

    state = optuna.trial.TrialState.RUNNING
    return optuna.trial.create_trial(state=state, **_parameters(config, values))


def _parameters(config: SweepConfig, values: Values) -> dict[str, Any]:
    """Return a trial's values as Optuna has them: of a choice, the index."""
    params = {}
    for pointer, value in values.items():
        parameter = config.space[pointer]
        if isinstance(parameter, Choice):
            value = [as_json(choice) for choice in parameter.choice].index(as_json(value))
        params[pointer] = value
    distributions = {pointer: _distribution(config.space[pointer]) for pointer in values}
    return {"params": params, "distributions": distributions}


def _distribution(parameter: Parameter) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter:
        case Choice(choice=values):
            return CategoricalDistribution(range(len(values)))
        case Uniform(uniform=(low, high)):
            return FloatDistribution(low, high)
        case LogUniform(log_uniform=(low, high)):
            return FloatDistribution(low, high, log=True)
        case Integer(integer=(first, _), step=step, log=log):
            last = first + step * (parameter.num_values - 1)
            return IntDistribution(first, last, log=log, step=step)
