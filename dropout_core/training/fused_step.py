"""The loss and the gradients of one training step, written by hand.

Autograd's bookkeeping takes a good part of a small network's step. `FusedStep` computes what
`loss(model(x), targets).backward()` computes, up to rounding, with less work: backward reads the
result of a ReLU instead of a saved input, gradients are written straight into `.grad`, and the
scale of inverted dropout is the `alpha` of the next matrix product.

Shapes: B rows of a batch, I inputs and O outputs of a layer, K of them that are kept.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from dropout_core.config import FusedActivation
from dropout_core.nn import kernels
from dropout_core.nn.functional import activate_and_drop_, activate_and_drop_backward
from dropout_core.nn.layers import BatchwiseDropout, Dropout
from dropout_core.nn.masks import keep_mask
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.training.losses import Loss, over_members, value_and_gradient
from dropout_core.training.member_step import MemberStep, input_features

UnitDropout = Dropout | BatchwiseDropout

Gradients = Callable[..., Tensor]
"""Rows (B, I), their targets[, their weights (B)] -> the loss (), with gradients in `.grad`."""


def gradients_of(
    model: MLP, loss: Loss, *, optimizer: torch.optim.Optimizer | None = None
) -> Gradients:
    """Return a FusedStep or a MemberStep if it fits the model, and autograd's step otherwise.

    If `optimizer` is given and does plain gradient descent, the FusedStep takes the optimizer's
    step as well; see `descent` there.
    """
    if MemberStep.fits(model):
        return MemberStep(model, loss)
    if model.config.members > 1:
        loss = over_members(loss)
    if not FusedStep.fits(model):
        return partial(_autograd, model, loss)
    plain = optimizer is not None and is_plain_descent(optimizer)
    return FusedStep(model, loss, descent=optimizer if plain else None)


def _autograd(model: MLP, loss: Loss, x: Tensor, targets: Tensor, *weights: Tensor) -> Tensor:
    model.zero_grad()
    value = loss(model(x), targets, *weights)
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


class FusedStep:
    """The step of a network of linear layers, elementwise activations and dropout of units.

    The dropout is Bernoulli, or batchwise with one mask for the whole batch. A call draws the masks
    that the model in training mode would draw, replaces the parameters' `.grad` by the gradients of
    this batch and returns the loss: (B, I), targets[, weights] -> (). Embeddings of categories and
    the scales of inputs get their gradients by autograd, from that of the first layer's input.

    `descent` may be an optimizer that does plain gradient descent. A call then also takes its step,
    within the matrix products that would otherwise compute the gradients; `.grad` is None, so that
    the optimizer's own step does nothing. Raises ValueError for a model that `fits` refuses, or an
    optimizer that is not `is_plain_descent`.
    """

    def __init__(
        self, model: MLP, loss: Loss, *, descent: torch.optim.Optimizer | None = None
    ) -> None:
        if not self.fits(model):
            raise ValueError("the model has layers that need autograd")
        if descent is not None and not is_plain_descent(descent):
            raise ValueError("the optimizer does more than plain gradient descent")
        self._inputs = [part for part in (model.inputs, model.scaling) if part is not None]
        learns = model.inputs is not None and model.inputs.learns
        self._learns_inputs = learns or model.scaling is not None
        self._input_dropout = cast(UnitDropout, model.input_dropout)
        self._layers = [
            *(_layer(cast(HiddenLayer, layer)) for layer in model.hidden),
            _Layer(model.output.weight, model.output.bias),
        ]
        self._loss = loss
        self._descent = descent
        if descent is not None:
            model.zero_grad()  # the optimizer would apply gradients that an earlier run has left

    @staticmethod
    def fits(model: MLP) -> bool:
        """Return whether the model has only such layers and is not on a GPU with faster kernels."""
        if kernels.is_available(model.output.weight.device):
            return False
        layers = [cast(HiddenLayer, layer) for layer in model.hidden]
        return (
            all(parameter.requires_grad for parameter in model.parameters())
            and model.config.members == 1
            and isinstance(model.input_dropout, UnitDropout)
            and all(layer.fused_activation and not layer.rounds_to_bfloat16 for layer in layers)
            and model.config.group_size is None
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, targets: Tensor, *weights: Tensor) -> Tensor:
        features = input_features(self._inputs, x, learns=self._learns_inputs)
        given = _dropped_input(features.detach(), self._input_dropout)
        passes = []
        for layer in self._layers:
            passes.append(_Pass(layer, given))
            given = passes[-1].output
        loss, grad = value_and_gradient(self._loss, given.x, targets, *weights)
        rate = None if self._descent is None else self._descent.param_groups[0]["lr"]
        for done in reversed(passes):
            first = done is passes[0]
            before = grad if first and not self._learns_inputs else done.gradient_of_input(grad)
            # The weights are read above before `descend` changes them.
            if rate is None:
                done.set_gradients(grad)
            else:
                done.descend(grad, rate)
            grad = before
        if self._learns_inputs:
            torch.autograd.backward(features, _all_columns(grad, passes[0].given, features))
        return loss


class _Layer(NamedTuple):
    """What a step needs of a layer, looked up once, since attributes of a module are slow.

    The output layer has no activation and no dropout.
    """

    weight: Tensor
    bias: Tensor
    activation: FusedActivation | None = None
    dropout: UnitDropout | None = None


def _layer(hidden: HiddenLayer) -> _Layer:
    linear, dropout = hidden.linear, cast(UnitDropout, hidden.dropout)
    return _Layer(linear.weight, linear.bias, hidden.fused_activation, dropout)


class _Dropped(NamedTuple):
    """Activations after dropout, (B, K), not yet multiplied by `scale`.

    `units` are the indices of the units that batchwise dropout kept, None for all; `mask` is that
    of Bernoulli dropout, None if nothing was dropped.
    """

    x: Tensor
    scale: float = 1.0
    units: Tensor | None = None
    mask: Tensor | None = None
    activation: FusedActivation | None = None


def _dropped_input(x: Tensor, dropout: UnitDropout) -> _Dropped:
    if isinstance(dropout, BatchwiseDropout):
        units, scale = dropout.keep(x.shape[1], x.device)
        return _Dropped(x.index_select(1, units), scale, units)
    if dropout.p == 0.0:
        return _Dropped(x)
    mask = keep_mask(x, dropout.p, generator=dropout.generator, dtype=x.dtype)
    x = x * mask  # a new tensor, since x belongs to the caller
    return _Dropped(x, dropout.survivor_scale, mask=mask)


def _all_columns(grad: Tensor, given: _Dropped, features: Tensor) -> Tensor:
    """Return the gradient of all features from that of the features that were kept."""
    if given.units is None:
        return grad
    return torch.zeros_like(features).index_copy_(1, given.units, grad)


class _Pass:
    """The forward and backward pass of one layer for one batch.

    Under batchwise dropout `part` is a copy of the weight rows of the outputs that are kept, and
    `weight` a copy of the columns of `part` whose inputs are kept; otherwise both are the layer's
    weight itself.
    """

    __slots__ = ("given", "layer", "output", "part", "rows", "weight")

    def __init__(self, layer: _Layer, given: _Dropped) -> None:
        self.layer = layer
        self.given = given
        self.rows: Tensor | None = None
        scale, part, bias = 1.0, layer.weight, layer.bias
        if isinstance(layer.dropout, BatchwiseDropout):
            self.rows, scale = layer.dropout.keep(len(bias), bias.device)
            part, bias = part.index_select(0, self.rows), bias.index_select(0, self.rows)
        self.part = part
        self.weight = part if given.units is None else part.index_select(1, given.units)
        y = torch.addmm(bias, given.x, self.weight.t(), alpha=given.scale)
        p, generator, mask = 0.0, None, None
        if isinstance(layer.dropout, Dropout):
            p, generator = layer.dropout.p, layer.dropout.generator
            scale = layer.dropout.survivor_scale
        if layer.activation is not None:
            mask = activate_and_drop_(y, layer.activation, p, generator=generator)
        self.output = _Dropped(y, scale, self.rows, mask, layer.activation)

    def gradient_of_input(self, grad: Tensor) -> Tensor:
        """Return the gradient before the activation that made the input: (B, O) -> (B, I)."""
        given = self.given
        before = torch.addmm(given.x, grad, self.weight, beta=0, alpha=given.scale)
        if given.activation is None:  # the network's own features
            return before if given.mask is None else before.mul_(given.mask)
        return activate_and_drop_backward(before, given.x, given.mask, given.activation)

    def set_gradients(self, grad: Tensor) -> None:
        """Write the gradients of the parameters to `.grad`."""
        weight, bias, given = self.layer.weight, self.layer.bias, self.given
        if weight.grad is None or bias.grad is None:
            weight.grad, bias.grad = torch.empty_like(weight), torch.empty_like(bias)
        # Adding to zeros is faster here than a product that overwrites.
        weight.grad.zero_()
        if self.weight is weight:
            weight.grad.addmm_(grad.t(), given.x, alpha=given.scale)
            torch.sum(grad, dim=0, out=bias.grad)
            return
        part = torch.addmm(self.weight, grad.t(), given.x, beta=0, alpha=given.scale)
        if given.units is not None:
            whole = weight.grad if self.rows is None else torch.zeros_like(self.part)
            part = _put_columns(whole, given.units, part)
        if self.rows is None:
            torch.sum(grad, dim=0, out=bias.grad)
        else:
            weight.grad.index_copy_(0, self.rows, part)
            bias.grad.zero_().index_copy_(0, self.rows, grad.sum(dim=0))

    def descend(self, grad: Tensor, rate: float) -> None:
        """Take a step of gradient descent with the learning rate."""
        given, bias = self.given, self.layer.bias
        self.weight.addmm_(grad.t(), given.x, alpha=-rate * given.scale)
        # Under batchwise dropout copies were changed: write them back.
        if given.units is not None:
            _put_columns(self.part, given.units, self.weight)
        if self.rows is None:
            bias.sub_(grad.sum(dim=0), alpha=rate)
        else:
            self.layer.weight.index_copy_(0, self.rows, self.part)
            bias.index_add_(0, self.rows, grad.sum(dim=0), alpha=-rate)


def _put_columns(matrix: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """Do what `index_copy_` along dim 1 does, in less than half of its time."""
    return matrix.scatter_(1, columns.expand_as(values), values)


def is_plain_descent(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a step is w -= lr * gradient, with one rate for all parameters."""
    group, *others = optimizer.param_groups
    return (
        isinstance(optimizer, torch.optim.SGD)
        and not others
        and group["momentum"] == group["weight_decay"] == 0
        and not group["maximize"]
    )
