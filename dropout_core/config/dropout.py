"""The dropout of a layer."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Probability

DropoutKind = Literal["bernoulli", "gaussian", "batchwise", "dropconnect"]


class DropoutConfig(Config):
    """The dropout of one layer: `p` is the probability to drop, `keep` the probability to keep.

    - `bernoulli` drops single activations. `inverted` scaling multiplies the kept activations by
      1 / keep in training and changes nothing at inference; `classic` scaling changes nothing in
      training and multiplies by keep at inference (Srivastava et al. 2014, section 4).
    - `gaussian` multiplies by noise of the same variance (section 10 of the same paper).
    - `batchwise` keeps an exact number of units and computes only those. All rows of a batch share
      the mask, or, with `group_size`, that many rows (Graham et al. 2015).
    - `dropconnect` drops the weights into the layer, with masks `per_example` or `per_batch` (Wan
      et al. 2013).
    """

    kind: DropoutKind = "bernoulli"
    p: Probability | None = Field(
        None, description="The probability to drop. Give either this or `keep`."
    )
    keep: Probability | None = Field(
        None, description="The probability to keep. Give either this or `p`."
    )
    scaling: Literal["inverted", "classic"] = "inverted"
    group_size: Count | None = Field(
        None,
        description="For `batchwise` only: the number of rows that share a mask. "
        "Default: all rows of the batch.",
    )
    masks: Literal["per_example", "per_batch"] | None = Field(
        None,
        description="For `dropconnect` only: one mask for each row or for each batch. "
        "Default: `per_example`.",
    )

    @model_validator(mode="after")
    def _check_one_probability(self) -> Self:
        if (self.p is None) == (self.keep is None):
            raise PydanticCustomError("p_or_keep", "give exactly one of `p` and `keep`")
        return self

    @model_validator(mode="after")
    def _check_options_of_kind(self) -> Self:
        if self.scaling == "classic" and self.kind != "bernoulli":
            raise PydanticCustomError("scaling", "only `bernoulli` has `classic` scaling")
        if self.group_size is not None and self.kind != "batchwise":
            raise PydanticCustomError("group_size", "only `batchwise` has a `group_size`")
        if self.masks is not None and self.kind != "dropconnect":
            raise PydanticCustomError("masks", "only `dropconnect` has `masks`")
        if self.kind in ("gaussian", "batchwise") and self.drop_probability == 1:
            raise PydanticCustomError("all_dropped", "this kind cannot drop everything")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialise(self).items() if value is not None}

    @property
    def drop_probability(self) -> float:
        """Return the probability to drop, also where the config gives `keep`."""
        return self.p if self.p is not None else 1.0 - (self.keep or 0.0)


def _from_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"p": value} if is_number else value


Dropout = Annotated[
    DropoutConfig,
    BeforeValidator(_from_number, json_schema_input_type=Probability | DropoutConfig),
]


def _one_for_each_layer(
    value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> tuple[DropoutConfig, ...]:
    hidden = info.data.get("hidden")
    dropouts: tuple[DropoutConfig, ...]
    if not isinstance(value, list | tuple):
        dropouts = validate((value,))
        return dropouts * len(hidden or ())
    dropouts = validate(value)
    if hidden is not None and len(dropouts) != len(hidden):
        raise PydanticCustomError(
            "hidden_dropout_length",
            "{given} dropouts for {layers} hidden layers: give one for all, or one for each",
            {"given": len(dropouts), "layers": len(hidden)},
        )
    return dropouts


HiddenDropout = Annotated[
    tuple[Dropout, ...],
    Field(strict=False),
    WrapValidator(
        _one_for_each_layer,
        json_schema_input_type=Probability | DropoutConfig | list[Probability | DropoutConfig],
    ),
]
