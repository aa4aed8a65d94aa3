"""The loss and the gradients of one training step of many members, written by hand.

It computes what autograd computes over `MLP.forward`, up to rounding, in about half of the time:
products write into `.grad`, the scale of inverted dropout is a factor of the next product, and an
activation's slope is multiplied by the mask once. The scales of a backbone are multiplied into its
weights, which are then those of members that share nothing, and not into every row.

Shapes: k members, B rows of a batch, I inputs and O outputs of a layer, C outputs of the network.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import Activation, FusedActivation
from dropout_core.nn.activations import ParametricActivation, mish_and_slope
from dropout_core.nn.functional import activate_and_drop_, activate_and_drop_backward
from dropout_core.nn.layers import Dropout
from dropout_core.nn.masks import keep_mask
from dropout_core.nn.members import BackboneLinear, MemberLinear
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.training.losses import Loss, for_each_member, value_and_gradient

_aten = torch.ops.aten
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class MemberStep:
    """The step of a network of members whose dropout is Bernoulli, on a CPU.

    It is a `fused_step.Gradients`: a call draws the masks that the model in training mode would
    draw, replaces the parameters' `.grad` by the gradients of this batch and returns the loss, the
    mean over the members: (B, I), targets[, weights] -> (). What comes before the first layer gets
    its gradients by autograd. Raises ValueError for a model that `fits` refuses.
    """

    def __init__(self, model: MLP, loss: Loss) -> None:
        if not self.fits(model):
            raise ValueError("the model has layers that need autograd")
        self._members = model.config.members
        parts = (model.inputs, model.scaling)
        self._inputs = [part for part in parts if part is not None]
        learns = model.inputs is not None and model.inputs.learns
        self._learns_inputs = learns or model.scaling is not None
        self._input_dropout = cast(Dropout, model.input_dropout)
        self._layers = [_layer(cast(HiddenLayer, layer)) for layer in model.hidden]
        self._layers.append(_Layer(cast(MemberLinear, model.output)))
        self._loss = loss

    @staticmethod
    def fits(model: MLP) -> bool:
        """Return whether the model has only such layers."""
        layers = [cast(HiddenLayer, layer) for layer in model.hidden]
        dropouts = [model.input_dropout, *(layer.dropout for layer in layers)]
        return (
            model.config.members > 1
            and model.output.weight.device.type == "cpu"
            and all(parameter.requires_grad for parameter in model.parameters())
            and all(isinstance(dropout, Dropout) for dropout in dropouts)
            and all(layer.activation_name != "maxout" for layer in layers)
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, targets: Tensor, *weights: Tensor) -> Tensor:
        features = input_features(self._inputs, x, learns=self._learns_inputs)
        h, scale, mask = _dropped(features.detach(), self._members, self._input_dropout)
        passes = []
        for layer in self._layers:
            passes.append(_Pass(layer, h, scale))
            h, scale = passes[-1].output, layer.scale
        given = for_each_member(self._members, targets, *weights)
        loss, of_outputs = value_and_gradient(self._loss, h.flatten(0, 1), *given)
        grad = of_outputs.view_as(h)
        for done in reversed(passes):
            is_first = done is passes[0]
            grad = done.backward(grad, needs_input=self._learns_inputs or not is_first)
        if self._learns_inputs:
            if mask is not None:
                grad.mul_(mask)
            torch.autograd.backward(features, grad if features.dim() == 3 else grad.sum(dim=0))
        return loss


def input_features(parts: Sequence[nn.Module], x: Tensor, *, learns: bool) -> Tensor:
    """Compute the first layer's input; autograd records what is to be trained before it."""
    with torch.set_grad_enabled(learns):
        for part in parts:
            for parameter in part.parameters():
                parameter.grad = None
            x = part(x)
    return x


class _Layer(NamedTuple):
    """What a step needs of a layer, looked up once.

    The output layer has no activation and drops nothing. A schedule may change the probability.
    """

    linear: MemberLinear | BackboneLinear
    activation: Activation | None = None
    mix: nn.Parameter | None = None
    dropout: Dropout = Dropout(0.0)

    @property
    def scale(self) -> float:
        """What the survivors are multiplied by."""
        return self.dropout.survivor_scale if self.dropout.p > 0.0 else 1.0


def _layer(hidden: HiddenLayer) -> _Layer:
    is_parametric = isinstance(hidden.activation, ParametricActivation)
    return _Layer(
        linear=cast(MemberLinear | BackboneLinear, hidden.linear),
        activation=hidden.activation_name,
        mix=cast(ParametricActivation, hidden.activation).mix if is_parametric else None,
        dropout=cast(Dropout, hidden.dropout),
    )


def _dropped(x: Tensor, members: int, dropout: Dropout) -> tuple[Tensor, float, Tensor | None]:
    """Return the members' inputs (k, B, I) without the scale of dropout, the scale, and the mask.

    The mask is None if nothing is dropped.
    """
    rows = x if x.dim() == 3 else x.expand(members, -1, -1)
    if dropout.p == 0.0:
        return rows, 1.0, None
    mask = keep_mask(rows, dropout.p, generator=dropout.generator, dtype=x.dtype)
    return rows * mask, dropout.survivor_scale, mask


class _Pass:
    """The forward and backward pass of one layer for one batch.

    `x` is the input (k, B, I), still to be multiplied by `scale`; so is `output` by that of the
    layer. `slope` is the derivative of the output by what the activation takes, the mask included.
    """

    __slots__ = ("excess", "layer", "mask", "output", "scale", "slope", "weight", "x")

    def __init__(self, layer: _Layer, x: Tensor, scale: float) -> None:
        self.layer, self.x, self.scale = layer, x, scale
        linear = layer.linear
        self.weight: Tensor = linear.weight
        if isinstance(linear, BackboneLinear):
            self.weight = (linear.weight * linear.scale_in).mul_(linear.scale_out.mT)
        z = _product(x, self.weight.mT, scale).add_(linear.bias)
        self.mask: Tensor | None = None
        self.slope: Tensor | None = None
        self.excess: Tensor | None = None
        if layer.activation is None:
            self.output = z
        elif layer.mix is None and layer.activation in get_args(FusedActivation):
            activation, dropout = cast(FusedActivation, layer.activation), layer.dropout
            self.mask = activate_and_drop_(z, activation, dropout.p, generator=dropout.generator)
            self.output = z
        else:
            self.output = self._activate(z, layer.activation)

    def backward(self, grad: Tensor, *, needs_input: bool) -> Tensor:
        """Set the gradients of the parameters: (k, B, O) -> that of the input (k, B, I)."""
        layer, linear = self.layer, self.layer.linear
        if layer.mix is not None:
            assert self.excess is not None
            layer.mix.grad = self.excess.mul_(grad).sum(dim=1, keepdim=True)
        if self.slope is not None:
            grad = grad.mul_(self.slope)
        elif layer.activation is not None:
            activation = cast(FusedActivation, layer.activation)
            grad = activate_and_drop_backward(grad, self.output, self.mask, activation)
        linear.bias.grad = grad.sum(dim=1, keepdim=True)
        of_weight = _product(grad.mT, self.x, self.scale)
        if isinstance(linear, BackboneLinear):
            _set_gradients(linear, of_weight)
        else:
            linear.weight.grad = of_weight
        return _product(grad, self.weight, self.scale) if needs_input else grad

    def _activate(self, z: Tensor, activation: Activation) -> Tensor:
        """Return the activation of z after dropout; keep its slope and what the mix multiplies."""
        layer, p = self.layer, self.layer.dropout.p
        stream = layer.dropout.generator
        mask = keep_mask(z, p, generator=stream, dtype=z.dtype) if p > 0.0 else None
        kept = torch.ones_like(z) if mask is None else mask
        value, slope = _VALUES_AND_SLOPES[activation](z, kept)
        if layer.mix is not None:
            excess = value - z
            value, slope = torch.lerp(z, value, layer.mix), torch.lerp(kept, slope, layer.mix)
            self.excess = excess if mask is None else excess.mul_(mask)
        self.slope = slope
        return value if mask is None else value.mul_(mask)


def _product(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """Return left @ right * scale for each member."""
    if scale == 1.0:
        return torch.bmm(left, right)
    out = left.new_empty(len(left), left.shape[1], right.shape[2])
    return torch.baddbmm(out, left, right, beta=0, alpha=scale, out=out)


def _set_gradients(linear: BackboneLinear, of_weights: Tensor) -> None:
    """Set the gradients of a backbone from those of its members' own weights: (k, O, I).

    The weights of a member are s W r, with its scales s of the outputs and r of the inputs.
    """
    scale_in, scale_out = linear.scale_in, linear.scale_out
    products = of_weights * linear.weight
    linear.scale_in.grad = torch.bmm(scale_out, products)
    linear.scale_out.grad = torch.bmm(products, scale_in.mT).mT
    scaled = of_weights.mul_(scale_in)
    total = scaled[0] * scale_out[0].mT
    for of_member, own in zip(scaled[1:], scale_out[1:], strict=True):
        total.addcmul_(of_member, own.mT)
    linear.weight.grad = total


def _relu(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    value = z.relu()
    return value, _aten.threshold_backward(kept, value, 0)


def _tanh(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    value = z.tanh()
    return value, _aten.tanh_backward(kept, value)


def _logistic(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    value = z.sigmoid()
    return value, _aten.sigmoid_backward(kept, value)


def _gelu(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    return F.gelu(z), _aten.gelu_backward(kept, z)


def _selu(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    value = F.selu(z)
    return value, _aten.elu_backward(kept, _SELU_ALPHA, _SELU_SCALE, 1.0, True, value)


def _mish(z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = mish_and_slope(z)
    return value, slope.mul_(kept)


_VALUES_AND_SLOPES: dict[Activation, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "relu": _relu,
    "tanh": _tanh,
    "logistic": _logistic,
    "gelu": _gelu,
    "selu": _selu,
    "mish": _mish,
}
"""Activations and their slopes, of the units that a mask keeps: (k, B, O), mask -> both."""
