"""The network that an MLPConfig describes.

Shapes: B rows of a batch, K of them in a group that shares masks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import Activation, DropoutConfig, FusedActivation, Init, MLPConfig
from dropout_core.nn import functional
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.layers import (
    STOCHASTIC,
    BatchwiseDropout,
    DropConnectLinear,
    Dropout,
    GaussianDropout,
    Maxout,
)
from dropout_core.nn.numbers import NUMBER_EMBEDDINGS
from dropout_core.seeds import generator

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "gelu": nn.GELU,
}

INITS: dict[Init, Callable[..., Tensor]] = {
    "kaiming_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "kaiming_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "normal": partial(nn.init.normal_, std=0.01),
}


class HiddenLayer(nn.Module):
    """Linear, [batch norm,] activation and dropout: one hidden layer.

    Shape: (B, in_features) -> (B, num_units). Under batchwise dropout a layer takes and returns
    only the units that are kept: `columns` are the indices of the previous layer's units in x.
    """

    def __init__(
        self, config: MLPConfig, dropout: DropoutConfig, *, in_features: int, num_units: int
    ) -> None:
        super().__init__()
        self.activation_name = config.activation
        self.num_units = num_units
        self.num_pieces = config.num_pieces
        self.linear = _linear(
            dropout,
            in_features,
            num_units * self.num_pieces,
            bias=not config.batch_norm,  # batch norm subtracts the mean, and any bias with it
        )
        width = num_units * self.num_pieces
        self.norm = nn.BatchNorm1d(width) if config.batch_norm else None
        self.activation = (
            Maxout(self.num_pieces)
            if config.activation == "maxout"
            else ACTIVATIONS[config.activation]()
        )
        self.dropout = _dropout(dropout)
        self.rounds_to_bfloat16 = False

    def forward(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if self.training and isinstance(self.dropout, BatchwiseDropout):
            kept, scale = self.dropout.keep(self.num_units, x.device)
            x = functional.submatrix_linear(
                x, self.linear.weight, self.linear.bias, rows=self._pieces(kept), columns=columns
            )
            return self.activation(x) * scale, kept
        activation = self.fused_activation if self.training and columns is None else None
        if activation is not None and isinstance(self.dropout, Dropout):
            fused = functional.linear_dropout(
                x,
                self.linear.weight,
                self.linear.bias,
                self.dropout.p,
                activation=activation,
                generator=self.dropout.generator,
                scale=self.dropout.survivor_scale,
                bfloat16=self.rounds_to_bfloat16,
            )
            return fused, None
        x = _product(self.linear, x, columns)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(self.activation(x)), None

    @property
    def fused_activation(self) -> FusedActivation | None:
        """The activation if only it and dropout of units follow a plain linear layer, else None."""
        is_fused = (
            type(self.linear) is nn.Linear
            and self.norm is None
            and isinstance(self.dropout, Dropout | BatchwiseDropout)
            and self.activation_name in get_args(FusedActivation)
        )
        return cast(FusedActivation, self.activation_name) if is_fused else None

    def _pieces(self, units: Tensor) -> Tensor:
        """Return the rows of the weight matrix that belong to `units`."""
        if self.num_pieces == 1:
            return units
        pieces = torch.arange(self.num_pieces, device=units.device)
        return (units[:, None] * self.num_pieces + pieces).flatten()


class MLP(nn.Module):
    """Hidden layers and a linear output, with dropout as the config says.

    Shape: (B, in_features) -> (B, out_features); the outputs are logits or regression values.
    `inputs` embeds numbers and encodes categories for the first layer; None if it does neither. The
    weights are a function of the config, the sizes and `seed`. The names of the parameters do not
    depend on the dropout, so a checkpoint can be loaded into a network with another dropout.
    """

    def __init__(
        self,
        config: MLPConfig,
        *,
        in_features: int,
        out_features: int,
        inputs: InputLayer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.in_features = in_features
        self.out_features = out_features
        self.inputs = inputs
        self.input_dropout = _dropout(config.input_dropout)
        self.hidden = nn.ModuleList()
        width = in_features if inputs is None else inputs.out_features
        for num_units, dropout in zip(config.hidden, config.hidden_dropout, strict=True):
            layer = HiddenLayer(config, dropout, in_features=width, num_units=num_units)
            self.hidden.append(layer)
            width = num_units
        self.output = _without_weights(nn.Linear, width, out_features)
        self.max_norms = None if config.max_norm is None else [config.max_norm] * len(self.linears)
        self.initialise(seed)

    def forward(self, x: Tensor) -> Tensor:
        if self.inputs is not None:
            x = self.inputs(x)
        group_size = self.config.group_size
        if not self.training or group_size is None or group_size >= len(x):
            return self._forward_group(x)
        return torch.cat([self._forward_group(x_KI) for x_KI in torch.split(x, group_size)])

    def _forward_group(self, x: Tensor) -> Tensor:
        columns = None
        if self.training and isinstance(self.input_dropout, BatchwiseDropout):
            columns, scale = self.input_dropout.keep(x.shape[1], x.device)
            x = x.index_select(1, columns) * scale
        else:
            x = self.input_dropout(x)
        for layer in self.hidden:
            x, columns = layer(x, columns)
        return _product(self.output, x, columns)

    def initialise(self, seed: int) -> None:
        """Draw every weight anew: embeddings of categories from N(0, 1), those of numbers as they
        say, and the others by the config's init. Biases become zero.
        """
        stream = generator(seed, "init")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                INITS[self.config.init](module.weight, generator=stream)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=stream)
            elif isinstance(module, NUMBER_EMBEDDINGS):
                module.initialise(stream)

    def use_generator(self, stream: Generator | None) -> None:
        """Draw every mask from `stream`; None means torch's default generator."""
        for module in self.modules():
            if isinstance(module, (*STOCHASTIC, InputLayer)):
                module.generator = stream

    def use_bfloat16(self, enabled: bool) -> None:
        """Set whether training rounds the inputs of the hidden layers' products to bfloat16."""
        for layer in self.hidden:
            cast(HiddenLayer, layer).rounds_to_bfloat16 = enabled

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, from the first hidden one to the output."""
        return [*(cast(HiddenLayer, layer).linear for layer in self.hidden), self.output]

    def constrain(self) -> None:
        """Scale each unit's incoming weights down to the layer's max norm, if there is one."""
        if self.max_norms is not None:
            for linear, bound in zip(self.linears, self.max_norms, strict=True):
                functional.max_norm_(linear.weight, bound)


def _product(linear: nn.Module, x: Tensor, columns: Tensor | None) -> Tensor:
    """Apply the layer to x, which holds all of its inputs or only `columns` of them."""
    out: Tensor
    if columns is None:
        out = linear(x)  # called as a module, which inference may have replaced
    elif isinstance(linear, DropConnectLinear):
        out = linear(x, columns)
    else:
        assert isinstance(linear, nn.Linear)
        out = functional.submatrix_linear(x, linear.weight, linear.bias, rows=None, columns=columns)
    return out


def _dropout(config: DropoutConfig) -> nn.Module:
    """Build the module that drops activations; DropConnect drops weights, see `_linear`."""
    p = config.drop_probability
    match config.kind:
        case "bernoulli":
            return Dropout(p, scaling=config.scaling)
        case "gaussian":
            return GaussianDropout(p)
        case "batchwise":
            return BatchwiseDropout(p)
        case "dropconnect":
            return nn.Identity()


def _linear(config: DropoutConfig, in_features: int, out_features: int, *, bias: bool) -> nn.Linear:
    if config.kind != "dropconnect":
        return _without_weights(nn.Linear, in_features, out_features, bias=bias)
    return _without_weights(
        DropConnectLinear,
        in_features,
        out_features,
        config.drop_probability,
        bias=bias,
        per_example=config.masks != "per_batch",
    )


def _without_weights(layer_type: type[nn.Linear], *arguments: Any, **options: Any) -> nn.Linear:
    """Build a layer without initialising it, which would draw from torch's global generator.

    `torch.nn.utils.skip_init` does the same, but its imports take half a second.
    """
    layer = layer_type(*arguments, **options | {"device": "meta"})
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape)))
    return layer
