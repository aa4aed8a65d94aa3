"""The loss and the gradients of one training step, written by hand.

For a plain network autograd's bookkeeping costs a good part of a small step. `FusedStep` computes
what `loss(model(x), targets).backward()` computes, to rounding, and leaves out what can be left
out: the result of a ReLU is its own record for backward, gradients are added up where they stay,
and the factor of inverted dropout rides on the next matrix product.

Shapes: B rows of a batch, I inputs and O outputs of a layer, C outputs of the network.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from dropout_core.config import FusedActivation
from dropout_core.nn import kernels
from dropout_core.nn.functional import activate_and_drop_, activate_and_drop_backward
from dropout_core.nn.layers import BatchwiseDropout, Dropout
from dropout_core.nn.masks import keep_mask
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.training.losses import Loss, value_and_gradient

UnitDropout = Dropout | BatchwiseDropout

Gradients = Callable[..., Tensor]
"""Rows (B, I), their targets[, their weights (B)] -> their loss: (), with its gradients left in
`.grad`."""


def gradients_of(
    model: MLP, loss: Loss, *, optimizer: torch.optim.Optimizer | None = None
) -> Gradients:
    """A FusedStep for a model that it fits, and autograd for any other.

    An `optimizer` that is to take its step right afterwards may find it taken: see FusedStep.
    """
    if not FusedStep.fits(model):
        return partial(_autograd, model, loss)
    plain = optimizer is not None and is_plain_descent(optimizer)
    return FusedStep(model, loss, descent=optimizer if plain else None)


def _autograd(
    model: MLP, loss: Loss, x: Tensor, targets: Tensor, weights: Tensor | None = None
) -> Tensor:
    model.zero_grad()
    outputs = model(x)
    value = loss(outputs, targets) if weights is None else loss(outputs, targets, weights)
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


class FusedStep:
    """The step of a network of linear layers, elementwise activations and dropout of units.

    That is Bernoulli dropout, and batchwise dropout of whole batches. A call draws what the model
    in training mode would draw, leaves the gradients of this batch alone in the parameters' `.grad`
    and answers the loss: (B, I), targets[, weights] -> (). Embeddings of categories get theirs by
    autograd, from the gradient of the first layer's input.

    `descent` may be an optimizer of plain gradient descent. Then the weights take its step within
    the products that would else make their gradients, `.grad` is None, and there is nothing left
    for the optimizer to do. Raises ValueError for a model that `fits` refuses, or an optimizer that
    is not `is_plain_descent`.
    """

    def __init__(
        self, model: MLP, loss: Loss, *, descent: torch.optim.Optimizer | None = None
    ) -> None:
        if not self.fits(model):
            raise ValueError("the model has layers that need autograd")
        if descent is not None and not is_plain_descent(descent):
            raise ValueError("the optimizer does more than plain gradient descent")
        hidden = [cast(HiddenLayer, layer) for layer in model.hidden]
        self._inputs = model.inputs
        self._input_dropout = cast(UnitDropout, model.input_dropout)
        self._layers = [
            _Layer(layer.linear, layer.fused_activation, cast(UnitDropout, layer.dropout))
            for layer in hidden
        ]
        self._output = _Layer(model.output, None, None)
        self._loss = loss
        self._descent = descent
        if descent is not None:
            model.zero_grad()  # what an earlier run has left, the optimizer would take for this one

    @staticmethod
    def fits(model: MLP) -> bool:
        """Whether the model is made of such layers alone, and no kernel of a GPU does better."""
        if kernels.is_available(model.output.weight.device):
            return False
        layers = [cast(HiddenLayer, layer) for layer in model.hidden]
        return (
            all(parameter.requires_grad for parameter in model.parameters())
            and isinstance(model.input_dropout, UnitDropout)
            and all(layer.is_elementwise and not layer.rounds_to_bfloat16 for layer in layers)
            and model.config.group_size is None
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        features = self._features(x)
        given = _dropped_input(features.detach(), self._input_dropout)
        passes = []
        for layer in (*self._layers, self._output):
            passes.append(_Pass(layer, given))
            given = passes[-1].output
        loss, grad = value_and_gradient(self._loss, given.x, targets, weights)
        rate = None if self._descent is None else self._descent.param_groups[0]["lr"]
        for done in reversed(passes):
            # By the weights as they were, so before they learn.
            first = done is passes[0]
            before = grad if first and not self._learns_inputs else done.gradient_of_input(grad)
            done.learn(grad, rate)
            grad = before
        if self._learns_inputs:
            torch.autograd.backward(features, _all_columns(grad, passes[0].given, features))
        return loss

    def _features(self, x: Tensor) -> Tensor:
        """What the first layer sees; recorded by autograd if there is something to learn in it."""
        if self._inputs is None:
            return x
        for parameter in self._inputs.parameters():
            parameter.grad = None
        with torch.set_grad_enabled(self._learns_inputs):
            features: Tensor = self._inputs(x)
        return features

    @property
    def _learns_inputs(self) -> bool:
        return self._inputs is not None and self._inputs.learns


class _Layer:
    """A linear layer, and what acts on its outputs; neither does on those of the network."""

    __slots__ = ("activation", "bias", "dropout", "weight")

    def __init__(
        self,
        linear: nn.Linear,
        activation: FusedActivation | None,
        dropout: UnitDropout | None,
    ) -> None:
        # Looked up here, since a module's attributes take their time.
        self.weight, self.bias = linear.weight, linear.bias
        self.activation = activation
        self.dropout = dropout


class _Dropped(NamedTuple):
    """Activations after dropout, (B, K), still to be multiplied by `scale`.

    They are those of `units` alone, or of all if it is None. The zeros that `mask` made are told
    from others by it.
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
    x = x * mask  # itself the caller's to keep
    return _Dropped(x, dropout.survivor_scale, mask=mask)


def _all_columns(grad: Tensor, given: _Dropped, features: Tensor) -> Tensor:
    """The gradient of a network's features, from that of those that were kept."""
    if given.units is None:
        return grad
    return torch.zeros_like(features).index_copy_(1, given.units, grad)


class _Pass:
    """A layer's way there and back for one batch.

    Under batchwise dropout `part` is a copy of the weights of the outputs that are kept, and
    `weight` is a copy of those among them that have an input; otherwise it is the layer's own.
    """

    __slots__ = ("given", "layer", "output", "part", "rows", "weight")

    def __init__(self, layer: _Layer, given: _Dropped) -> None:
        self.layer = layer
        self.given = given
        self.rows: Tensor | None = None
        scale = 1.0
        part: Tensor = layer.weight
        bias: Tensor = layer.bias
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
        """The gradient before the activation that made the input: (B, O) -> (B, I)."""
        given = self.given
        before = torch.addmm(given.x, grad, self.weight, beta=0, alpha=given.scale)
        if given.activation is None:  # the network's own features
            return before if given.mask is None else before.mul_(given.mask)
        return activate_and_drop_backward(before, given.x, given.mask, given.activation)

    def learn(self, grad: Tensor, rate: float | None) -> None:
        """Leave the gradients of the parameters in `.grad`, or take a step at the rate."""
        if rate is None:
            self._set_gradients(grad)
        else:
            self._descend(grad, rate)

    def _set_gradients(self, grad: Tensor) -> None:
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

    def _descend(self, grad: Tensor, rate: float) -> None:
        given, bias = self.given, self.layer.bias
        self.weight.addmm_(grad.t(), given.x, alpha=-rate * given.scale)
        # Copies are written back to where they are from.
        if given.units is not None:
            _put_columns(self.part, given.units, self.weight)
        if self.rows is None:
            bias.sub_(grad.sum(dim=0), alpha=rate)
        else:
            self.layer.weight.index_copy_(0, self.rows, self.part)
            bias.index_add_(0, self.rows, grad.sum(dim=0), alpha=-rate)


def _put_columns(matrix: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """What `index_copy_` does, in less than half of its time."""
    return matrix.scatter_(1, columns.expand_as(values), values)


def is_plain_descent(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is w -= lr * gradient, with one rate for all parameters."""
    group, *others = optimizer.param_groups
    return (
        isinstance(optimizer, torch.optim.SGD)
        and not others
        and group["momentum"] == group["weight_decay"] == 0
        and not group["maximize"]
    )
