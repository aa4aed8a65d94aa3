"""A search over configs: its space, sampler, pruner, objective and budget. Free of torch."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from dropout_core.config.base import Config, Count, Positive, Seed
from dropout_core.config.metrics import HIGHER_IS_BETTER

# RFC 6901, not the whole document.
Pointer = Annotated[str, Field(max_length=1000, pattern=r"^(/([^/~\x00]|~[01])+)+$")]
Values = Annotated[
    tuple[JsonValue, ...],
    Field(strict=False, max_length=1000, fail_fast=True, json_schema_extra={"minItems": 1}),
]
Condition = Annotated[dict[Pointer, Values], Field(min_length=1, max_length=8, fail_fast=True)]
N = TypeVar("N", int, float)
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

_FIXED = {
    "/name": "a sweep names its trials itself",
    "/metadata": "give `metadata` to the sweep",
    "/preset": "the preset decides what the other values of the space overlay",
    "/task": "scores of different tasks cannot be compared",
    "/dataset/id": "scores on different rows cannot be compared",
    "/dataset/target": "scores of different targets cannot be compared",
    "/dataset/target_delimiter": "scores of different targets cannot be compared",
    "/dataset/split": "scores on different rows cannot be compared",
    "/training/device": "a trial has the same bits wherever it runs",
    "/training/max_runtime_seconds": "give the sweep a `budget` of seconds",
    "/training/stacked": "the sweep decides what is trained together",
}


class _Parameter(Config):
    """A hyperparameter. It has a value only in trials where all of `when` holds.

    `when` names other parameters of the space, and the values that they may have. A parameter
    without a value is not set in the trial: what the base job says stands.
    """

    when: Condition | None = Field(None, exclude_if=lambda value: value is None)


class Choice(_Parameter):
    """One of the values, which can be any JSON."""

    choice: Values

    @field_validator("choice")
    @classmethod
    def _are_different(cls, values: tuple[JsonValue, ...]) -> tuple[JsonValue, ...]:
        if not values:
            raise PydanticCustomError("no_choice", "give at least one value")
        known: set[str] = set()
        for value in map(as_json, values):
            if value in known:
                raise PydanticCustomError(
                    "choice_twice", "give each value once: {value} is there twice", {"value": value}
                )
            known.add(value)
        return values


# Samplers compute with differences, logarithms and counts of such numbers.
Number = Annotated[float, Field(ge=-1e100, le=1e100)]
PositiveNumber = Annotated[float, Field(ge=1e-100, le=1e100)]
WholeNumber = Annotated[int, Field(gt=-(2**32), lt=2**32)]


class Uniform(_Parameter):
    """A number between two bounds, all equally likely."""

    uniform: Annotated[tuple[Number, Number], Field(strict=False)]

    @field_validator("uniform")
    @classmethod
    def _ascend(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        return _ascending(bounds)


class LogUniform(_Parameter):
    """A number between two bounds above 0 whose logarithm is equally likely everywhere."""

    log_uniform: Annotated[tuple[PositiveNumber, PositiveNumber], Field(strict=False)]

    @field_validator("log_uniform")
    @classmethod
    def _ascend(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        return _ascending(bounds)


class Integer(_Parameter):
    """A whole number from the first to the second bound, both included.

    It is the first bound plus a multiple of `step`. With `log`, its logarithm is about equally
    likely everywhere.
    """

    integer: Annotated[tuple[WholeNumber, WholeNumber], Field(strict=False)]
    log: bool = False
    step: Annotated[Count, Field(validate_default=True)] = 1

    @field_validator("integer")
    @classmethod
    def _ascend(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        return _ascending(bounds)

    @field_validator("step")
    @classmethod
    def _fits_the_bounds(cls, step: int, info: ValidationInfo) -> int:
        low, _ = info.data.get("integer", (1, 1))
        if info.data.get("log") and step > 1:
            raise PydanticCustomError("log_step", "with `log` the `step` has to be 1")
        if info.data.get("log") and low < 1:
            raise PydanticCustomError("log_bounds", "with `log` the bounds have to be above 0")
        return step

    @property
    def num_values(self) -> int:
        low, high = self.integer
        return (high - low) // self.step + 1


def _ascending(bounds: tuple[N, N]) -> tuple[N, N]:
    if not bounds[1] - bounds[0] >= 1e-100:
        raise PydanticCustomError("bounds", "the second bound has to be larger than the first")
    return bounds


_FORMS = ("choice", "uniform", "log_uniform", "integer")


def _form(value: Any) -> str | None:
    """Return the tag of a parameter. It is no name of a field, which a location could mean too."""
    has = value.__contains__ if isinstance(value, Mapping) else lambda form: hasattr(value, form)
    return next((f"a {form}" for form in _FORMS if has(form)), None)


Parameter = Annotated[
    Annotated[Choice, Tag("a choice")]
    | Annotated[Uniform, Tag("a uniform")]
    | Annotated[LogUniform, Tag("a log_uniform")]
    | Annotated[Integer, Tag("a integer")],
    Discriminator(
        _form,
        custom_error_type="parameter",
        custom_error_message="give one of `choice`, `uniform`, `log_uniform` and `integer`",
    ),
]
Space = Annotated[dict[Pointer, Parameter], Field(min_length=1, max_length=32, fail_fast=True)]


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

    @field_validator("space")
    @classmethod
    def _can_be_searched(cls, space: dict[str, Parameter]) -> dict[str, Parameter]:
        for pointer, parameter in space.items():
            _refuse_fixed(pointer)
            for other, values in (parameter.when or {}).items():
                if other not in space:
                    _refuse(
                        ("space", pointer, "when", other),
                        "condition",
                        "{other} is not in the space: a condition is on another parameter",
                        other=other,
                    )
                if not values:
                    text = "give at least one value of {other}"
                    _refuse(("space", pointer, "when", other), "no_condition", text, other=other)
                _check_condition(pointer, other, space[other], values)
        _in_order(space)
        return space

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
        return tuple(_in_order(self.space))


def as_json(value: Any) -> str:
    """Return a value as text, which is equal for values that JSON does not distinguish."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _refuse_fixed(pointer: str) -> None:
    for fixed, reason in _FIXED.items():
        if f"{pointer}/".startswith(f"{fixed}/") or f"{fixed}/".startswith(f"{pointer}/"):
            _refuse(
                ("space", pointer),
                "fixed_field",
                "{fixed} is the same in all trials: {reason}",
                fixed=fixed,
                reason=reason,
            )


def _check_condition(
    pointer: str, other: str, parameter: Parameter, values: tuple[JsonValue, ...]
) -> None:
    if isinstance(parameter, Choice):
        possible = {as_json(value) for value in parameter.choice}
    elif isinstance(parameter, Integer):
        low, high = parameter.integer
        possible = {
            as_json(value)
            for value in values
            if type(value) is int and low <= value <= high and (value - low) % parameter.step == 0
        }
    else:
        _refuse(
            ("space", pointer, "when", other),
            "condition_form",
            "a condition is on a `choice` or an `integer`, and {other} is neither",
            other=other,
        )
    for index, value in enumerate(values):
        if as_json(value) not in possible:
            _refuse(
                ("space", pointer, "when", other, index),
                "condition_value",
                "{other} never has this value",
                other=other,
            )


def _in_order(space: Mapping[str, Parameter]) -> list[str]:
    """Return the pointers, conditions first; refuse conditions that go round in a circle."""
    order: list[str] = []
    left = sorted(space)
    while left:
        pointer = next((p for p in left if set(space[p].when or ()).issubset(order)), None)
        if pointer is None:
            _refuse(
                ("space", left[0], "when"),
                "condition_circle",
                "the conditions of the space go round in a circle",
            )
        order.append(pointer)
        left.remove(pointer)
    return order


def _refuse(
    location: tuple[str | int, ...], error_type: str, text: str, **context: Any
) -> NoReturn:
    """Raise an error about an entry of a field, which pydantic puts at its own location."""
    # pydantic adds the name of the field that is validated.
    error = PydanticCustomError(error_type, text, context or None)
    line = InitErrorDetails(type=error, loc=location[1:], input=None)
    raise ValidationError.from_exception_data("SweepConfig", [line])
