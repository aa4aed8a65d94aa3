"""A multilayer perceptron."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Positive
from dropout_core.config.dropout import Dropout, DropoutConfig, HiddenDropout

Activation = Literal["relu", "tanh", "logistic", "gelu", "maxout"]
FusedActivation = Literal["relu", "tanh", "logistic"]
"""The activations whose derivative is a function of their output."""
Init = Literal["kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "normal"]
Width = Annotated[int, Field(ge=1, le=65_536)]


class MLPConfig(Config):
    """A multilayer perceptron: its hidden layers, their activation and their regularisation.

    - `hidden` is the number of units of each hidden layer. An empty list makes a linear model.
    - `hidden_dropout` is one dropout for all hidden layers, or a list of one for each.
    - `max_norm` bounds the L2 norm of each unit's incoming weights (Srivastava et al. 2014,
      section 5.1).
    - `maxout`: each unit is the maximum of `maxout_pieces` linear units (Goodfellow et al. 2013).
    - `init`: `normal` draws weights with mean 0 and standard deviation 0.01. Biases start at 0.
    """

    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=64)] = (256, 256)
    activation: Activation = "relu"
    maxout_pieces: Annotated[int, Field(ge=2, le=16)] = 2
    input_dropout: Dropout = DropoutConfig(p=0.0)
    hidden_dropout: HiddenDropout = Field(0.5, validate_default=True)
    batch_norm: bool = False
    max_norm: Positive | None = None
    init: Init = "xavier_uniform"

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
