"""The space of a sweep: which fields of a job differ between trials, and by what. Free of torch."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from dropout_core.config.base import Config, Count, Positive

# RFC 6901, not the whole document.
Pointer = Annotated[str, Field(max_length=1000, pattern=r"^(/([^/~\x00]|~[01])+)+$")]
Values = Annotated[
    tuple[JsonValue, ...],
    Field(strict=False, max_length=1000, fail_fast=True, json_schema_extra={"minItems": 1}),
]
Condition = Annotated[dict[Pointer, Values], Field(min_length=1, max_length=8, fail_fast=True)]
N = TypeVar("N", int, float)

_FIXED = {
    "/name": "a sweep names its trials itself",
    "/metadata": "give `metadata` to the sweep",
    "/preset": "the preset decides what the other values of the space overlay",
    "/optimise_for": "the other values of the job follow from it",
    "/tune": "a trial cannot be a sweep itself",
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

    @cached_property
    def conditions(self) -> Mapping[str, frozenset[str]]:
        """Return the values of `when` as texts, which are looked up for each trial."""
        return {
            other: frozenset(map(as_json, values)) for other, values in (self.when or {}).items()
        }


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
            # 1.0 is 1, and an equal trial.
            meaning = as_json(json.loads(value, parse_float=_whole_if_equal))
            if meaning in known:
                raise PydanticCustomError(
                    "choice_twice", "give each value once: {value} is there twice", {"value": value}
                )
            known.add(meaning)
        return values


def _whole_if_equal(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


# Samplers compute with differences, logarithms and counts of numbers between bounds.
_LEAST, _MOST = 1e-100, 1e100
WholeNumber = Annotated[int, Field(gt=-(2**32), lt=2**32)]


class Uniform(_Parameter):
    """A number between two bounds, all equally likely."""

    uniform: Annotated[tuple[float, float], Field(strict=False)]

    @field_validator("uniform")
    @classmethod
    def _ascend(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        return _ascending(bounds)


class LogUniform(_Parameter):
    """A number between two bounds above 0 whose logarithm is equally likely everywhere."""

    log_uniform: Annotated[tuple[Positive, Positive], Field(strict=False)]

    @field_validator("log_uniform")
    @classmethod
    def _ascend(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if min(bounds) < _LEAST:
            raise PydanticCustomError("small_bounds", "the bounds have to be at least 1e-100")
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
    if max(map(abs, bounds)) > _MOST:
        raise PydanticCustomError("large_bounds", "the bounds have to be at most 1e100")
    if not bounds[1] - bounds[0] >= _LEAST:
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


def _checked(space: dict[str, Parameter]) -> dict[str, Parameter]:
    for pointer, parameter in space.items():
        _refuse_fixed(pointer)
        for other, values in (parameter.when or {}).items():
            _check_condition(pointer, other, space.get(other), values)
    in_order(space)
    return space


Space = Annotated[
    dict[Pointer, Parameter],
    Field(min_length=1, max_length=32, fail_fast=True),
    AfterValidator(_checked),
]


def as_json(value: Any) -> str:
    """Return a value as text, which is equal for values that JSON does not distinguish."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _refuse_fixed(pointer: str) -> None:
    for fixed, reason in _FIXED.items():
        if f"{pointer}/".startswith(f"{fixed}/") or f"{fixed}/".startswith(f"{pointer}/"):
            _refuse(
                (pointer,),
                "fixed_field",
                "{fixed} is the same in all trials: {reason}",
                fixed=fixed,
                reason=reason,
            )


def _check_condition(
    pointer: str, other: str, parameter: Parameter | None, values: tuple[JsonValue, ...]
) -> None:
    location = (pointer, "when", other)
    if parameter is None:
        text = "{other} is not in the space: a condition is on another parameter"
        _refuse(location, "condition", text, other=other)
    if not values:
        _refuse(location, "no_condition", "give at least one value of {other}", other=other)
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
            location,
            "condition_form",
            "a condition is on a `choice` or an `integer`, and {other} is neither",
            other=other,
        )
    for index, value in enumerate(values):
        if as_json(value) not in possible:
            _refuse(
                (*location, index),
                "condition_value",
                "{other} never has this value",
                other=other,
            )


def in_order(space: Mapping[str, Parameter]) -> list[str]:
    """Return the pointers, conditions first; refuse conditions that go round in a circle."""
    order: list[str] = []
    left = sorted(space)
    while left:
        pointer = next((p for p in left if set(space[p].when or ()).issubset(order)), None)
        if pointer is None:
            _refuse(
                (left[0], "when"),
                "condition_circle",
                "the conditions of the space go round in a circle",
            )
        order.append(pointer)
        left.remove(pointer)
    return order


def _refuse(
    location: tuple[str | int, ...], error_type: str, text: str, **context: Any
) -> NoReturn:
    """Raise an error about an entry of the space. pydantic adds the location of the space."""
    error = PydanticCustomError(error_type, text, context or None)
    line = InitErrorDetails(type=error, loc=location, input=None)
    raise ValidationError.from_exception_data("Space", [line])
