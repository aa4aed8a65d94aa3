"""The forward pass of inference: the model's arithmetic without calls of modules.

Calling the modules of a small network takes Python longer than the computation, so the operation of
each module in eval mode is looked up once.

Shapes: T rows of a tile, V values, K codes of categories, C outputs.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import Task
from dropout_core.model.preprocessing import LinearScale, Preprocessing
from dropout_core.model.saved_model import TabularModel
from dropout_core.nn.layers import STOCHASTIC, Dropout
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.nn.quantiles import uncrossed

Step = Callable[[Tensor], Tensor]


def as_predicted(outputs: Tensor, task: Task, *, num_quantiles: int = 1) -> Tensor:
    """Turn logits (N, C) into probabilities of classes or labels; leave regression values.

    With several quantiles of each target, sort them: where they cross, the sorted ones are nearer
    to the true ones (Chernozhukov, Fernandez-Val and Galichon 2010).
    """
    match task:
        case "regression" if num_quantiles > 1:
            return uncrossed(outputs, num_quantiles)
        case "regression":
            return outputs
        case "multilabel":
            return outputs.sigmoid()
        case _:
            return outputs.softmax(dim=-1)


class ForwardPass:
    """Compute what a model in eval mode does, bit for bit: (T, V + K) -> (T, C), both float64.

    `network` is the model's own or another in its place, such as one of its sub-networks.
    """

    def __init__(self, model: TabularModel, network: nn.Module) -> None:
        modules = _modules(network) if isinstance(network, MLP) else network.children()
        self._steps = [_preprocess(model.preprocessing), *map(_step, modules)]
        self._mean, self._scale = model.target_mean, model.target_scale
        self._has_units = bool((self._mean != 0).any() or (self._scale != 1).any())

    def __call__(self, tile: Tensor) -> Tensor:
        return self._in_units(self._after(self._steps, tile))

    def of_members(self, tile: Tensor) -> Tensor:
        """Return what each of k members computes, if `network` averages them: (k, T, C)."""
        return self._in_units(self._after(self._steps[:-1], tile))

    @staticmethod
    def _after(steps: Sequence[Step], x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    def _in_units(self, x: Tensor) -> Tensor:
        outputs = x.double()
        return outputs * self._scale + self._mean if self._has_units else outputs


def _modules(network: MLP) -> Iterator[nn.Module]:
    """Yield the modules that do something in eval mode, in order."""
    before = (network.inputs, network.scaling, network.for_each)
    yield from (module for module in before if module is not None)
    yield from _effective(network.input_dropout)
    for layer in cast(Iterable[HiddenLayer], network.hidden):
        yield layer.linear
        if layer.norm is not None:
            yield layer.norm
        yield layer.activation
        yield from _effective(layer.dropout)
    yield network.output
    if network.average is not None:
        yield network.average


def _effective(dropout: nn.Module) -> Iterator[nn.Module]:
    """Yield the dropout if it does something in eval mode: only classic dropout does."""
    is_classic = isinstance(dropout, Dropout) and dropout.scaling == "classic"
    if is_classic or not isinstance(dropout, (*STOCHASTIC, nn.Identity)):
        yield dropout


def _step(module: nn.Module) -> Step:
    if isinstance(module, nn.Linear):
        weight, bias = module.weight, module.bias
        return lambda x: F.linear(x, weight, bias)
    if isinstance(module, nn.ReLU):
        return torch.relu_  # in place: its input is the output of the layer before
    step: Step = module.forward
    return step


def _preprocess(preprocessing: Preprocessing) -> Step:
    """Return `forward`, or for models of numbers only a step that just scales complete rows."""
    scale = preprocessing.scale
    if not isinstance(scale, LinearScale) or preprocessing.out_features != scale.mean.numel():
        return preprocessing.forward
    half_mean, half_deviation = 0.5 * scale.mean, 0.5 * scale.deviation

    def standardised(matrix: Tensor) -> Tensor:
        scaled = (0.5 * matrix.double()).sub_(half_mean).div_(half_deviation).float()
        return preprocessing.forward(matrix) if math.isnan(scaled.sum().item()) else scaled

    return standardised
