"""What trials are compared by: scores of trials from results, and which objectives a job allows."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from dropout_core.config import SweepConfig, Task
from dropout_core.config.metrics import metric_names
from dropout_core.config.sweep import CROSS_VALIDATION, OF_TRAINING, Objective
from dropout_core.training.feasibility import InfeasibleError

Scores = tuple[float, ...]
"""The values of a trial's objectives, in their order."""


@dataclass(frozen=True)
class Result:
    """What one repeat of a trial has reached at a rung.

    - `values` are those of the objectives, in their order; None if the repeat failed, diverged, was
      cancelled, or has no such metric. A value that is not finite counts as None.
    - `finished`: training is over before the rung, so that the result is that of all later rungs.
    """

    values: Scores | None
    finished: bool = False

    @property
    def has_failed(self) -> bool:
        return self.values is None or not all(map(isfinite, self.values))


Results = Mapping[tuple[int, int, int], Result]
"""Results by trial, repeat and rung, which is numbered from 0 in the trial's bracket."""


def mean_scores(values: Sequence[Scores | None]) -> Scores | None:
    """Return the means over a trial's repeats; None if one of them failed or is not finite."""
    known = [scores for scores in values if scores is not None and all(map(isfinite, scores))]
    if len(known) < len(values):
        return None
    return tuple(_mean(of_one) for of_one in zip(*known, strict=True))


def _mean(values: Sequence[float]) -> float:
    try:
        return statistics.fmean(values)
    except OverflowError:  # of the sum
        return statistics.fmean(value / 2 for value in values) * 2


def deviations(values: Sequence[Scores]) -> Scores | None:
    """Return the standard deviations over repeats (divided by n - 1); None for a single one."""
    if len(values) < 2:
        return None
    return tuple(statistics.stdev(of_one) for of_one in zip(*values, strict=True))


def losses(config: SweepConfig, scores: Scores) -> Scores:
    """Return the scores with the sign that makes less the better."""
    signs = [-1.0 if objective.is_maximized else 1.0 for objective in config.objective]
    return tuple(sign * score for sign, score in zip(signs, scores, strict=True))


def pareto_front(config: SweepConfig, scores: Mapping[int, Scores]) -> tuple[int, ...]:
    """Return the trials that no other one is better than, in the order of their numbers.

    A trial is better than another if one of its objectives is better and none is worse.
    """
    signed = {number: losses(config, of_one) for number, of_one in scores.items()}
    return tuple(
        number
        for number, own in sorted(signed.items())
        if not any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in signed.values()
        )
    )


def check_objectives(
    config: SweepConfig,
    *,
    task: Task,
    has_validation: bool,
    has_folds: bool,
    has_quantiles: bool = False,
) -> None:
    """Raise InfeasibleError if an objective is undefined for the task, or no rows are there for it.

    `has_folds` says whether the job's split has folds, `has_validation` whether rows are held out.
    """
    for index, objective in enumerate(config.objective):
        field = ("objective", str(index), "metric")
        name = objective.metric.removeprefix(CROSS_VALIDATION)
        names = metric_names(task, has_quantiles=has_quantiles)
        if name not in (*names, *OF_TRAINING):
            raise InfeasibleError(
                field, f"{name} is no metric of this {task} task, which has {', '.join(names)}"
            )
        if objective.is_over_folds and not has_folds:
            raise InfeasibleError(field, "the mean over folds needs `folds` in the job's split")
        if not has_validation and _is_of_validation(objective):
            raise InfeasibleError(field, f"{name} needs validation rows: split some off")


def _is_of_validation(objective: Objective) -> bool:
    return not objective.is_over_folds and objective.metric != "num_parameters"
