"""A multilayer perceptron and the dropout of its layers."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Positive, Probability, added

Activation = Literal["relu", "tanh", "logistic", "gelu", "selu", "mish", "maxout"]
FusedActivation = Literal["relu", "tanh", "logistic"]
"""The activations whose derivative is a function of their output."""
Init = Literal[
    "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "lecun_normal", "normal"
]
Width = Annotated[int, Field(ge=1, le=65_536)]

MAX_MEMBERS = 64


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

    kind: Literal["bernoulli", "gaussian", "batchwise", "dropconnect"] = "bernoulli"
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
    def _check_options(self) -> Self:
        if (self.p is None) == (self.keep is None):
            raise PydanticCustomError("p_or_keep", "give exactly one of `p` and `keep`")
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


class MLPConfig(Config):
    """A multilayer perceptron: its hidden layers, their activation and their regularisation.

    - `hidden` is the number of units of each hidden layer. An empty list makes a linear model.
    - `hidden_dropout` is one dropout for all hidden layers, or a list of one for each.
    - `max_norm` bounds the L2 norm of each unit's incoming weights (Srivastava et al. 2014,
      section 5.1).
    - `maxout`: each unit is the maximum of `maxout_pieces` linear units (Goodfellow et al. 2013).
    - `init`: `normal` draws weights with mean 0 and standard deviation 0.01, `lecun_normal` with
      variance 1 / fan-in. Biases start at 0, and so do the weights of the output with
      `zero_output`.
    - `parametric_activation`: each unit learns how much of the activation it applies, a: its output
      is (1 - a) * x + a * activation(x), with a = 1 at first (Holzmueller et al. 2024, section 3).
    - `input_scaling`: each input is multiplied by a learned factor, 1 at first, so that the network
      can choose among its inputs (section 3 of the same paper).
    - `members`: as many networks are trained side by side, and their predictions are averaged. They
      share a `backbone`, and each member scales the inputs and outputs of its layers by numbers of
      its own (Gorishniy et al. 2024; Wen et al. 2020), or they share `nothing` but the inputs.
    """

    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=64, fail_fast=True)] = (
        256,
        256,
    )
    activation: Activation = "relu"
    maxout_pieces: Annotated[int, Field(ge=2, le=16)] = 2
    input_dropout: Dropout = DropoutConfig(p=0.0)
    hidden_dropout: tuple[Dropout, ...] = Field(
        0.5, validate_default=True, strict=False, fail_fast=True
    )
    batch_norm: bool = False
    max_norm: Positive | None = None
    init: Init = "xavier_uniform"
    zero_output: bool = added(False)
    parametric_activation: bool = added(False)
    input_scaling: bool = added(False)
    members: Annotated[int, Field(ge=1, le=MAX_MEMBERS)] = added(1)
    member_sharing: Literal["backbone", "nothing"] = added("backbone")

    @field_validator(
        "hidden_dropout",
        mode="wrap",
        json_schema_input_type=Probability | DropoutConfig | list[Probability | DropoutConfig],
    )
    @classmethod
    def _one_for_each_layer(
        cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> tuple[DropoutConfig, ...]:
        hidden = info.data.get("hidden")
        is_list = isinstance(value, list | tuple)
        dropouts: tuple[DropoutConfig, ...] = validate(value if is_list else (value,))
        if not is_list:
            return dropouts * len(hidden or ())
        if hidden is not None and len(dropouts) != len(hidden):
            raise PydanticCustomError(
                "hidden_dropout_length",
                "{given} dropouts for {layers} hidden layers: give one for all, or one for each",
                {"given": len(dropouts), "layers": len(hidden)},
            )
        return dropouts

    @field_validator("parametric_activation")
    @classmethod
    def _is_of_whole_layers(cls, value: bool, info: ValidationInfo) -> bool:
        dropouts = info.data.get("hidden_dropout", ())
        if value and info.data.get("activation") == "maxout":
            raise PydanticCustomError(
                "parametric_maxout", "`maxout` already learns the shape of its activation"
            )
        if value and any(dropout.kind == "batchwise" for dropout in dropouts):
            raise PydanticCustomError(
                "parametric_batchwise",
                "batchwise dropout computes parts of layers, whose units have no parametric "
                "activation: use another dropout",
            )
        return value

    @field_validator("members")
    @classmethod
    def _members_fit_the_layers(cls, value: int, info: ValidationInfo) -> int:
        if value == 1:
            return value
        if info.data.get("batch_norm"):
            raise PydanticCustomError("members_norm", "batch norm cannot be used with members")
        dropouts = (info.data.get("input_dropout"), *info.data.get("hidden_dropout", ()))
        for kind in ("batchwise", "dropconnect"):
            if any(dropout is not None and dropout.kind == kind for dropout in dropouts):
                raise PydanticCustomError(
                    "members_dropout",
                    "{kind} dropout cannot be used with members: use `bernoulli` or `gaussian`",
                    {"kind": kind},
                )
        return value

    @model_validator(mode="after")
    def _check_dropouts_together(self) -> Self:
        if self.input_dropout.kind == "dropconnect":
            raise PydanticCustomError(
                "input_dropconnect", "DropConnect drops weights: give it to the first hidden layer"
            )
        batchwise = self._batchwise
        if batchwise and self.batch_norm:
            raise PydanticCustomError(
                "batchwise_norm",
                "batch norm needs whole layers, and batchwise dropout computes parts of them: "
                "use one of the two",
            )
        if len({dropout.group_size for dropout in batchwise}) > 1:
            raise PydanticCustomError(
                "group_size", "give all batchwise dropouts of the network the same `group_size`"
            )
        return self

    @property
    def num_pieces(self) -> int:
        """Return the number of linear units behind each hidden unit."""
        return self.maxout_pieces if self.activation == "maxout" else 1

    @property
    def allows_bfloat16(self) -> bool:
        """Return whether the matrix products of all hidden layers can round to bfloat16."""
        return (
            self.activation in get_args(FusedActivation)
            and not self.batch_norm
            and not self.parametric_activation
            and self.members == 1
            and self.input_dropout.kind != "batchwise"  # the first layer computes a submatrix
            and all(dropout.kind == "bernoulli" for dropout in self.hidden_dropout)
        )

    @property
    def group_size(self) -> int | None:
        """Return how many rows share a mask of batchwise dropout; None means the whole batch."""
        return self._batchwise[0].group_size if self._batchwise else None

    @property
    def _batchwise(self) -> list[DropoutConfig]:
        dropouts = (self.input_dropout, *self.hidden_dropout)
        return [dropout for dropout in dropouts if dropout.kind == "batchwise"]
