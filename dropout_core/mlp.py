"""MLPConfig -> network."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init

from dropout_core.config import Activation, DropoutConfig, Init, MLPConfig
from dropout_core.layers import Dropout
from dropout_core.seeds import generator

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "gelu": nn.GELU,
}


class MLP(nn.Module):
    """Linear layers, each hidden one followed by [batch norm,] activation and dropout.

    Shape: (N, in_features) -> (N, out_features); the outputs are logits or regression values.
    The weights are a function of the config, the sizes and `seed`.
    """

    def __init__(
        self, config: MLPConfig, *, in_features: int, out_features: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.in_features = in_features
        self.out_features = out_features
        self.layers = nn.Sequential()
        _append_dropout(self.layers, config.input_dropout)
        width = in_features
        for num_units, dropout in zip(config.hidden, config.hidden_dropout, strict=True):
            # Batch norm subtracts the mean, and with it any bias before it.
            self.layers.append(_linear(width, num_units, bias=not config.batch_norm))
            if config.batch_norm:
                self.layers.append(nn.BatchNorm1d(num_units))
            self.layers.append(ACTIVATIONS[config.activation]())
            _append_dropout(self.layers, dropout)
            width = num_units
        self.layers.append(_linear(width, out_features))
        self.initialise(seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """Draw every weight anew from the config's init; biases become zero."""
        stream = generator(seed, "init")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _init_weight(module.weight, self.config.init, stream)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def use_generator(self, stream: Generator | None) -> None:
        """Draw every dropout mask from `stream`; None is torch's default generator."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = stream

    @torch.no_grad()
    def constrain(self) -> None:
        """Scale each unit's incoming weights down to the config's max norm, where there is one."""
        if self.config.max_norm is None:
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.renorm_(2, 0, self.config.max_norm)


def _linear(in_features: int, out_features: int, *, bias: bool = True) -> nn.Linear:
    """Without weights yet: torch would draw them from its global generator."""
    layer: nn.Linear = skip_init(nn.Linear, in_features, out_features, bias=bias)  # type: ignore[no-untyped-call]
    return layer


def _append_dropout(layers: nn.Sequential, config: DropoutConfig) -> None:
    if config.drop_probability > 0:
        layers.append(Dropout(config.drop_probability, scaling=config.scaling))


def _init_weight(weight: Tensor, init: Init, stream: Generator) -> None:
    match init:
        case "kaiming_uniform":
            nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=stream)
        case "kaiming_normal":
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=stream)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight, generator=stream)
        case "xavier_normal":
            nn.init.xavier_normal_(weight, generator=stream)
        case "normal":
            nn.init.normal_(weight, std=0.01, generator=stream)
