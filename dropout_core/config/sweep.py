"""A search over configs: its space, sampler, pruner, objective and budget. Free of torch."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Positive, Seed
from dropout_core.config.metrics import HIGHER_IS_BETTER
from dropout_core.config.space import LogUniform, Space, Uniform, in_order

Direction = Literal["minimize", "maximize"]

EPOCHS = "/training/epochs"
SEED = "/training/seed"
CROSS_VALIDATION = "cross_validation."
"""The prefix of metrics that are means over the folds."""

MAX_TRIALS = 100_000
OF_TRAINING = {"validation_loss": False, "validation_score": True, "num_parameters": False}
"""Objectives that need no evaluation of the model, and whether more is better."""
IS_MAXIMIZED: dict[str, bool] = {**OF_TRAINING, **HIGHER_IS_BETTER}
"""The metrics that can be an objective, without those over folds, and whether more is better."""


class NoPruner(Config):
    """Train every trial to its end."""

    name: Literal["none"] = "none"


class _Halving(Config):
    min_epochs: Count = 1


class SuccessiveHalving(_Halving):
    """Promote the best 1 / `reduction` of the trials at each rung (Jamieson and Talwalkar 2016).

    The last rung is the job's `training.epochs`, and each rung before has 1 / `reduction` of the
    epochs of the next, rounded up, but at least `min_epochs`.
    """

    name: Literal["successive_halving"]
    reduction: Annotated[int, Field(ge=2, le=100)] = 4


class Hyperband(_Halving):
    """Successive halving in several brackets, which begin at different rungs (Li et al. 2018)."""

    name: Literal["hyperband"]
    reduction: Annotated[int, Field(ge=2, le=100)] = 3


Pruner = Annotated[
    Annotated[NoPruner | SuccessiveHalving | Hyperband, Field(discriminator="name")],
    BeforeValidator(
        lambda value: {"name": value} if isinstance(value, str) else value,
        json_schema_input_type=Literal["none", "successive_halving", "hyperband"]
        | NoPruner
        | SuccessiveHalving
        | Hyperband,
    ),
]


class Objective(Config):
    """A metric, and whether less or more of it is better; null means what the metric says.

    - `validation_loss` and `validation_score`: of the epoch whose weights the model would keep.
    - a metric of the task, such as `roc_auc`: of the model as it would be served, calibrated, on
      the validation rows.
    - `cross_validation.` and a metric of the task: the mean over the folds, which the job's `split`
      has to have.
    - `num_parameters`.
    """

    metric: Annotated[str, Field(max_length=100)]
    direction: Direction | None = None

    @field_validator("metric")
    @classmethod
    def _is_known(cls, metric: str) -> str:
        is_over_folds = metric.startswith(CROSS_VALIDATION)
        known = HIGHER_IS_BETTER if is_over_folds else IS_MAXIMIZED
        if metric.removeprefix(CROSS_VALIDATION) not in known:
            raise PydanticCustomError(
                "metric", "there is no such metric: there are {known}", {"known": ", ".join(known)}
            )
        return metric

    @property
    def is_maximized(self) -> bool:
        if self.direction is not None:
            return self.direction == "maximize"
        return IS_MAXIMIZED[self.metric.removeprefix(CROSS_VALIDATION)]

    @property
    def is_over_folds(self) -> bool:
        return self.metric.startswith(CROSS_VALIDATION)


def _objectives(value: Any) -> Any:
    entries = value if isinstance(value, list | tuple) else (value,)
    return tuple({"metric": entry} if isinstance(entry, str) else entry for entry in entries)


class Budget(Config):
    """How much is tried: so many trials, and at most so many seconds.

    A grid has all its combinations as trials. A sweep whose seconds are used up ends with the best
    of the results that it has.
    """

    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 32
    seconds: Positive | None = None


class SweepConfig(Config):
    """A search for the best config of a job.

    - `space`: the fields of the job that differ between trials, by JSON pointer.
    - `sampler`: `random` draws all values independently, `sobol` spreads them evenly (Sobol 1967,
      scrambled), `grid` tries all combinations, and `tpe` learns from the trials of earlier windows
      which values are good (Bergstra et al. 2011).
    - `pruner`: which trials are stopped early.
    - `objective`: what is best. Two objectives have a Pareto front of winners, and no pruner.
    - `repeats`: each config is trained with as many seeds, and its score is the mean. Repeat r has
      the job's seed + r.
    - `max_parallel`: at most so many jobs of the sweep run at a time.
    - `window`: with `tpe`, so many trials are proposed together, from the results of all before.

    The config and the results decide which trials there are, which are promoted and which wins, and
    not the order in which results arrive.
    """

    space: Space
    sampler: Literal["random", "grid", "sobol", "tpe"] = "random"
    pruner: Pruner = NoPruner()
    objective: Annotated[
        tuple[Objective, ...],
        Field(strict=False, max_length=2, fail_fast=True),
        BeforeValidator(
            _objectives, json_schema_input_type=str | Objective | list[str | Objective]
        ),
    ] = (Objective(metric="validation_loss"),)
    budget: Budget = Budget()
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Seed = 0
    max_parallel: Count | None = None
    window: Annotated[int, Field(ge=1, le=1000)] = 8

    @field_validator("sampler")
    @classmethod
    def _has_a_grid(cls, sampler: str, info: ValidationInfo) -> str:
        for pointer, parameter in info.data.get("space", {}).items():
            if sampler == "grid" and isinstance(parameter, Uniform | LogUniform):
                raise PydanticCustomError(
                    "grid_values",
                    "a grid needs a list of values: give {pointer} a `choice` or `integer`",
                    {"pointer": pointer},
                )
        return sampler

    @field_validator("pruner")
    @classmethod
    def _knows_the_epochs(cls, pruner: Pruner, info: ValidationInfo) -> Pruner:
        if pruner.name != "none" and EPOCHS in info.data.get("space", {}):
            raise PydanticCustomError(
                "pruned_epochs",
                "the rungs are parts of {pointer}: leave it out of the space, or use no pruner",
                {"pointer": EPOCHS},
            )
        return pruner

    @field_validator("objective")
    @classmethod
    def _ranks_trials(
        cls, objectives: tuple[Objective, ...], info: ValidationInfo
    ) -> tuple[Objective, ...]:
        pruner = info.data.get("pruner")
        prunes = pruner is not None and pruner.name != "none"
        if not objectives:
            raise PydanticCustomError("objectives", "give one or two objectives")
        if len({objective.metric for objective in objectives}) < len(objectives):
            raise PydanticCustomError("objectives", "give two different metrics")
        if prunes and len(objectives) > 1:
            raise PydanticCustomError(
                "pruned_objectives",
                "two objectives do not say which trials to prune: give one, or use no pruner",
            )
        if prunes and any(objective.is_over_folds for objective in objectives):
            raise PydanticCustomError(
                "pruned_folds",
                "folds are trained when the training of a trial is over: use no pruner, or a "
                "metric of the validation rows",
            )
        return objectives

    @field_validator("repeats")
    @classmethod
    def _have_seeds(cls, repeats: int, info: ValidationInfo) -> int:
        if repeats > 1 and SEED in info.data.get("space", {}):
            raise PydanticCustomError(
                "repeated_seeds",
                "the repeats differ by {pointer}: leave it out of the space",
                {"pointer": SEED},
            )
        return repeats

    @property
    def pointers(self) -> tuple[str, ...]:
        """Return the pointers of the space, each after those that its condition names.

        Apart from that they are sorted: the fields of a JSON object have no order.
        """
        return tuple(in_order(self.space))
