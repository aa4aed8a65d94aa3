"""The activations of hidden layers.

Shapes: H units of a layer, k members.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dropout_core.config import Activation


def mish(x: Tensor) -> Tensor:
    """Return x tanh(log(1 + e^x)): (*) -> (*). Misra 2019.

    With r = 1 / ((1 + e^x)^2 + 1) it is x - 2 x r, up to the rounding of x. This takes a quarter of
    the time of torch's own, which computes a logarithm and a hyperbolic tangent.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return _mish(x, _reciprocal(x))


def mish_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return Mish and its derivative, 1 - 2 r + 4 x (r (1 - r) - r sqrt(r (1 - r)))."""
    r = _reciprocal(x)
    product = torch.addcmul(r, r, r, value=-1)
    root = product.sqrt()
    product.addcmul_(r, root, value=-1)
    return _mish(x, r), torch.addcmul(1 - 2 * r, x, product, value=4)


class _Mish(torch.autograd.Function):
    """Mish with its slope computed on the way, so that backward is one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, slope = mish_and_slope(x)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        before: Tensor = grad * slope
        return before


def _reciprocal(x: Tensor) -> Tensor:
    """Return r = 1 / ((1 + e^x)^2 + 1), which is 0 where the square is infinite."""
    return x.exp().add_(1).square_().add_(1).reciprocal_()


def _mish(x: Tensor, r: Tensor) -> Tensor:
    return torch.addcmul(x, x, r, value=-2)


class Mish(nn.Module):
    """Mish; see `mish`. Shape: (*) -> (*)."""

    def forward(self, x: Tensor) -> Tensor:
        return mish(x)


class ParametricActivation(nn.Module):
    """An activation of which each unit learns how much it applies: (1 - a) x + a activation(x).

    `mix` is a, 1 at first, for each of H units or, for k members, each of their units. Shape: (B,
    H) -> (B, H), or (k, B, H) -> (k, B, H). Holzmueller et al. 2024, section 3.
    """

    def __init__(self, activation: nn.Module, num_units: int, *, members: int = 1) -> None:
        super().__init__()
        self.activation = activation
        shape = (num_units,) if members == 1 else (members, 1, num_units)
        self.mix = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.activation(x), self.mix)


ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "mish": Mish,
}
"""The elementwise activations; `maxout` is not one."""
