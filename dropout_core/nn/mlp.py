"""The network that an MLPConfig describes.

Shapes: B rows of a batch, K of them in a group that shares masks; k members, I inputs, C outputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import DropoutConfig, FusedActivation, Init, MLPConfig
from dropout_core.nn import functional
from dropout_core.nn.activations import ACTIVATIONS, ParametricActivation
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.layers import (
    STOCHASTIC,
    BatchwiseDropout,
    DropConnectLinear,
    Dropout,
    GaussianDropout,
    InputScaling,
    Maxout,
)
from dropout_core.nn.members import (
    Average,
    BackboneLinear,
    ForEachMember,
    MemberAverage,
    MemberLinear,
)
from dropout_core.nn.numbers import NUMBER_EMBEDDINGS
from dropout_core.seeds import generator

Linear = nn.Linear | MemberLinear | BackboneLinear

INITS: dict[Init, Callable[..., Tensor]] = {
    "kaiming_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "kaiming_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "lecun_normal": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "normal": partial(nn.init.normal_, std=0.01),
}


class HiddenLayer(nn.Module):
    """Linear, [batch norm,] activation and dropout: one hidden layer.

    Shape: (B, in_features) -> (B, num_units), both with the members before B if there are several.
    Under batchwise dropout a layer takes and returns
    only the units that are kept: `columns` are the indices of the previous layer's units in x.
    """

    def __init__(
        self, config: MLPConfig, dropout: DropoutConfig, *, in_features: int, num_units: int
    ) -> None:
        super().__init__()
        self.activation_name = config.activation
        self.num_units = num_units
        self.num_pieces = config.num_pieces
        width = num_units * self.num_pieces
        self.linear = _linear(config, dropout, in_features, width)
        self.norm = nn.BatchNorm1d(width) if config.batch_norm else None
        self.activation = _activation(config, num_units)
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
            and not isinstance(self.activation, ParametricActivation)
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

    Shape: (B, in_features) -> (B, C); the outputs are logits or regression values. With k members
    training mode gives (B, k, C), and eval mode averages them, in float64, as `average` says.
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
        average: Average = "values",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.in_features = in_features
        self.out_features = out_features
        self.inputs = inputs
        width = in_features if inputs is None else inputs.out_features
        self.scaling = None
        if config.input_scaling:
            own = config.members > 1 and config.member_sharing == "nothing"
            self.scaling = InputScaling(width, members=config.members if own else 1)
        self.for_each = ForEachMember(config.members) if config.members > 1 else None
        self.input_dropout = _dropout(config.input_dropout)
        self.hidden = nn.ModuleList()
        for num_units, dropout in zip(config.hidden, config.hidden_dropout, strict=True):
            layer = HiddenLayer(config, dropout, in_features=width, num_units=num_units)
            self.hidden.append(layer)
            width = num_units
        self.output: nn.Linear | MemberLinear = (
            _without_weights(nn.Linear, width, out_features)
            if config.members == 1
            else MemberLinear(width, out_features, members=config.members)
        )
        self.average = MemberAverage(average) if config.members > 1 else None
        self.max_norms = None if config.max_norm is None else [config.max_norm] * len(self.linears)
        self.initialise(seed)

    def forward(self, x: Tensor) -> Tensor:
        outputs = self._outputs(x)
        if self.average is None:
            return outputs
        return outputs.transpose(0, 1) if self.training else self.average(outputs)

    def of_members(self, x: Tensor) -> Tensor:
        """Return the outputs of each member, in training mode and in eval mode: (B, k, C)."""
        outputs = self._outputs(x)
        return outputs[:, None] if self.average is None else outputs.transpose(0, 1)

    def _outputs(self, x: Tensor) -> Tensor:
        """Return the outputs of all layers: (B, C), or with members (k, B, C)."""
        if self.inputs is not None:
            x = self.inputs(x)
        if self.scaling is not None:
            x = self.scaling(x)
        if self.for_each is not None:
            x = self.for_each(x)
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
        say, and the others by the config's init.

        Biases become zero, and factors one; but those of the inputs of a backbone are what makes
        its members differ: random signs, or from N(0, 1) if inputs are embedded (Gorishniy et al.
        2024, section 3).
        """
        stream, draw = generator(seed, "init"), INITS[self.config.init]
        for module in self.modules():
            if isinstance(module, Linear):
                weights = module.weight if isinstance(module, MemberLinear) else [module.weight]
                for weight in weights:
                    draw(weight.data, generator=stream)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=stream)
            elif isinstance(module, NUMBER_EMBEDDINGS):
                module.initialise(stream)
            if isinstance(module, BackboneLinear):
                nn.init.ones_(module.scale_in)
                nn.init.ones_(module.scale_out)
            elif isinstance(module, InputScaling):
                nn.init.ones_(module.weight)
            elif isinstance(module, ParametricActivation):
                nn.init.ones_(module.mix)
        if isinstance(first := self.linears[0], BackboneLinear):
            nn.init.normal_(first.scale_in, generator=stream)
            if self.inputs is None or not self.inputs.learns:
                first.scale_in.data.sign_()
        if self.config.zero_output:
            nn.init.zeros_(self.output.weight)

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
    def linears(self) -> list[Linear]:
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


def _activation(config: MLPConfig, num_units: int) -> nn.Module:
    if config.activation == "maxout":
        return Maxout(config.num_pieces)
    activation = ACTIVATIONS[config.activation]()
    if not config.parametric_activation:
        return activation
    return ParametricActivation(activation, num_units, members=config.members)


def _linear(
    config: MLPConfig, dropout: DropoutConfig, in_features: int, out_features: int
) -> Linear:
    if config.members > 1:
        of_members = MemberLinear if config.member_sharing == "nothing" else BackboneLinear
        return of_members(in_features, out_features, members=config.members)
    bias = not config.batch_norm  # batch norm subtracts the mean, and any bias with it
    if dropout.kind != "dropconnect":
        return _without_weights(nn.Linear, in_features, out_features, bias=bias)
    return _without_weights(
        DropConnectLinear,
        in_features,
        out_features,
        dropout.drop_probability,
        bias=bias,
        per_example=dropout.masks != "per_batch",
    )


def _without_weights(layer_type: type[nn.Linear], *arguments: Any, **options: Any) -> nn.Linear:
    """Build a layer without initialising it, which would draw from torch's global generator.

    `torch.nn.utils.skip_init` does the same, but its imports take half a second.
    """
    layer = layer_type(*arguments, **options | {"device": "meta"})
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape)))
    return layer
