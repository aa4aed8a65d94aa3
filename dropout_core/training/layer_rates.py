"""The optimizer's options for the parameters of each kind of layer.

In the neural tangent parametrisation (Jacot et al. 2018) a layer of fan-in d learns weights V and
multiplies by W = V / sqrt(d). Here the network holds W itself, and the optimizer gets the options
that train W as V would be trained: with Adam the learning rate lr / sqrt(d), and the weight decay
that shrinks W as it would shrink V. The rates of all other parameters are those of Holzmueller et
al. 2024, table A.1.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from dropout_core.config import AdamConfig, AdamWConfig, Optimizer, SGDConfig, TrainingConfig
from dropout_core.nn.mlp import MLP

_BIAS_RATE = 0.1
_RATES = {
    "Embedding": 1.0,
    "PeriodicEmbedding": 0.1,
    "PiecewiseLinearEmbedding": 0.1,
    "LinearOfEach": 0.1,  # the linear maps of both embeddings
    "ParametricActivation": 0.1,
    "InputScaling": 6.0,
}
"""What multiplies the learning rate of a module's parameters, which decay as others do."""


def parameter_groups(
    model: MLP, config: TrainingConfig, *, weight_factors: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups as `config.layer_rates` says.

    `weight_factors` are factors that the weights of `model.linears` were multiplied by, as in a
    `scaling_recipe.Recipe`. Parameters with equal options share a group.
    """
    if config.layer_rates == "all" and weight_factors is None:
        return [{"params": list(model.parameters())}]
    factors = weight_factors or [1.0] * len(model.linears)
    weights = {
        id(linear.weight): factor for linear, factor in zip(model.linears, factors, strict=True)
    }
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for module, parameter in _with_modules(model):
        if (factor := weights.get(id(parameter))) is not None:
            if config.layer_rates == "ntk":
                factor /= math.sqrt(parameter.shape[-1])
            options = options_of_scaled(config.optimizer, factor)
        elif config.layer_rates == "ntk":
            options = _options_of_other(module, config.optimizer)
        else:
            options = {}
        group = groups.setdefault(tuple(options.items()), {"params": [], **options})
        group["params"].append(parameter)
    return list(groups.values())


def options_of_scaled(optimizer: Optimizer, factor: float) -> dict[str, float]:
    """Return the options with which weights that were multiplied by `factor` learn the same."""
    match optimizer:
        case SGDConfig(lr=lr, weight_decay=decay):
            # w -= lr (g + decay w): w is multiplied by the factor and g divided by it, so lr is
            # multiplied by its square, and decay divided by that.
            return {"lr": lr * factor**2, "weight_decay": decay / factor**2}
        case AdamConfig(lr=lr, eps=eps, weight_decay=decay):
            # Adam's step does not depend on the size of g except through eps.
            return {"lr": lr * factor, "eps": eps / factor, "weight_decay": decay / factor**2}
        case AdamWConfig(lr=lr, eps=eps, weight_decay=decay):
            # The same, but for the decay, which is lr times w, without g.
            return {"lr": lr * factor, "eps": eps / factor, "weight_decay": decay / factor}


def _options_of_other(module: nn.Module, optimizer: Optimizer) -> dict[str, float]:
    """Return the options of a parameter of `module` that is no weight of a linear layer.

    Biases, and whatever else scales and shifts single units, do not decay.
    """
    if (rate := _RATES.get(type(module).__name__)) is not None:
        return {"lr": rate * optimizer.lr}
    return {"lr": _BIAS_RATE * optimizer.lr, "weight_decay": 0.0}


def _with_modules(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Parameter]]:
    """Yield each parameter, in the order of `model.parameters()`, with the module that has it."""
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            yield module, parameter
