"""Dropout, maxout and max norm as functions of tensors and an explicit generator.

Shapes: B rows of a batch, I inputs and O outputs of a linear layer.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dropout_core.config import FusedActivation
from dropout_core.nn import kernels
from dropout_core.nn.masks import (
    check_probability,
    keep_mask,
    keep_probability,
    survivor_scale,
)

# Masks per example have rows times weights elements, so only this many are made at a time.
_DROPCONNECT_ELEMENTS = 1 << 24


class _MaskAndScale(torch.autograd.Function):
    """y = x * mask * scale. Backward needs only the mask: int8, one byte an element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float, inplace: bool) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        if inplace:
            ctx.mark_dirty(x)
            return x.mul_(mask.to(x.dtype)).mul_(scale)
        return x.mul(mask.to(x.dtype)).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (mask,) = ctx.saved_tensors
        return grad.mul(mask.to(grad.dtype)).mul_(ctx.scale), None, None, None


def dropout(
    x: Tensor,
    p: float,
    *,
    generator: Generator | None = None,
    inplace: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Zero each element with probability p and scale the survivors by 1 / (1 - p).

    Shape: (*) -> (*). p = 0 returns x itself; p = 1 returns zeros with zero gradient. `scale`
    replaces the factor of the survivors: 1.0 gives classic dropout, whose activations are
    multiplied by `masks.keep_probability(p)` at inference instead. Raises ValueError unless
    0 <= p <= 1. Srivastava et al. 2014, section 4.
    """
    check_probability(p)
    if p == 0.0:
        return x
    mask = keep_mask(x, p, generator=generator, dtype=torch.int8)
    chosen = survivor_scale(p) if scale is None else scale
    return _MaskAndScale.apply(x, mask, chosen, inplace)  # type: ignore[no-any-return, no-untyped-call]


def gaussian_dropout(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Multiply each element by noise from N(1, p / (1 - p)), the variance of Bernoulli dropout.

    Shape: (*) -> (*). Nothing is zeroed, and nothing is scaled at inference. Raises ValueError
    unless 0 <= p < 1. Srivastava et al. 2014, section 10.
    """
    check_probability(p, below_one=True)
    if p == 0.0:
        return x
    noise = torch.empty_like(x, requires_grad=False)
    noise.normal_(1.0, math.sqrt(p / (1.0 - p)), generator=generator)
    return x * noise


def activate_and_drop_(
    z: Tensor, activation: FusedActivation, p: float, *, generator: Generator | None = None
) -> Tensor | None:
    """Apply the activation, then dropout without its scale, in place.

    Return the mask, or None if p is 0. Raises ValueError for an activation that is not fused.
    """
    match activation:
        case "relu":
            z.relu_()
        case "tanh":
            z.tanh_()
        case "logistic":
            z.sigmoid_()
        case _:
            raise ValueError(f"no fused activation {activation!r}")
    if p == 0.0:
        return None
    mask = keep_mask(z, p, generator=generator, dtype=z.dtype)
    z.mul_(mask)
    return mask


def activate_and_drop_backward(
    grad: Tensor, dropped: Tensor, mask: Tensor | None, activation: FusedActivation
) -> Tensor:
    """Return the gradient before the activation, as a new tensor, from the one after the dropout.

    `dropped` is what `activate_and_drop_` made, and `mask` what it returned. Only tanh reads the
    mask: a dropped zero looks like a zero of a ReLU or a logistic unit, where the slope is 0.
    """
    aten = torch.ops.aten
    match activation:
        case "relu":
            before: Tensor = aten.threshold_backward(grad, dropped, 0)
        case "tanh":
            before = aten.tanh_backward(grad, dropped)
            if mask is not None:
                before.mul_(mask)
        case "logistic":
            before = aten.sigmoid_backward(grad, dropped)
    return before


def linear_dropout(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    p: float,
    *,
    activation: FusedActivation = "relu",
    generator: Generator | None = None,
    scale: float | None = None,
    bfloat16: bool = False,
) -> Tensor:
    """Compute `dropout(activation(F.linear(x, weight, bias)), p)` with few passes over memory.

    Shapes: x (B, I), weight (O, I), bias (O) -> (B, O). For a ReLU only the result is kept for
    backward: it is zero where the unit was inactive or dropped, so no mask is needed. `scale` is as
    in `dropout`. With `bfloat16` the matrix products round their inputs to bfloat16 and add up in
    float32. Raises ValueError unless 0 <= p <= 1 and the activation is a FusedActivation.
    """
    check_probability(p)
    factor = survivor_scale(p) if scale is None else scale
    factor = factor if p > 0.0 else 1.0
    on_gpu = kernels.is_available(x.device) and x.dtype != torch.float64
    if bfloat16:
        z = F.linear(x.bfloat16(), weight.bfloat16()).float()
    else:
        z = F.linear(x, weight, None if on_gpu else bias)
    if on_gpu:
        return kernels.bias_activation_dropout(
            z, bias, p, activation=activation, generator=generator, scale=factor
        )
    if bfloat16 and bias is not None:
        z = z.add_(bias)
    return _ActivationDropout.apply(  # type: ignore[no-any-return, no-untyped-call]
        z, activation, p, factor, generator
    )


class _ActivationDropout(torch.autograd.Function):
    """Activation, dropout and scale, in place. The GPU form is in `kernels`, in Triton."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        activation: FusedActivation,
        p: float,
        scale: float,
        generator: Generator | None,
    ) -> Tensor:
        mask = activate_and_drop_(z, activation, p, generator=generator)
        # Backward reads the unscaled values, but only the sign of a ReLU.
        dropped = z if activation == "relu" or scale == 1.0 else z.clone()
        if scale != 1.0:
            z.mul_(scale)
        ctx.mark_dirty(z)
        ctx.save_for_backward(dropped, mask if activation == "tanh" else None)
        ctx.scale, ctx.activation = scale, activation
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dropped, mask = ctx.saved_tensors
        grad = activate_and_drop_backward(grad, dropped, mask, ctx.activation)
        if ctx.scale != 1.0:
            grad.mul_(ctx.scale)
        return grad, None, None, None, None


def dropconnect(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    p: float,
    *,
    per_example: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """Apply a linear layer whose weights and biases are each dropped with probability p.

    Shapes: x (B, I), weight (O, I), bias (O) -> (B, O). With `per_example` every row has its own
    mask, otherwise all rows share one. The survivors are scaled by 1 / (1 - p), so that inference
    with mean weights is the plain layer. Raises ValueError unless 0 <= p <= 1. Wan et al. 2013,
    section 3.
    """
    check_probability(p)
    if p == 0.0:
        return F.linear(x, weight, bias)
    if not per_example:
        masked = dropout(weight, p, generator=generator)
        return F.linear(x, masked, None if bias is None else dropout(bias, p, generator=generator))
    mask_BOI = keep_mask(weight.expand(len(x), *weight.shape), p, generator=generator)
    scale = survivor_scale(p)
    out: Tensor = _MaskedLinear.apply(x, weight, mask_BOI, scale)  # type: ignore[no-untyped-call]
    if bias is None:
        return out
    return out + dropout(bias.expand(len(x), -1), p, generator=generator)


class _MaskedLinear(torch.autograd.Function):
    """A linear layer with a weight mask for each row, computed a few rows at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        ctx.scale = scale
        parts = [torch.einsum("boi,bi->bo", m * weight, rows) for m, rows in _parts(mask, x)]
        return torch.cat(parts).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, mask = ctx.saved_tensors
        grad = grad * ctx.scale
        grad_x, grad_weight = [], torch.zeros_like(weight)
        for m, rows, g in _parts(mask, x, grad):
            grad_x.append(torch.einsum("boi,bo->bi", m * weight, g))
            grad_weight += torch.einsum("boi,bo,bi->oi", m.to(g.dtype), g, rows)
        return torch.cat(grad_x), grad_weight, None, None


def _parts(mask: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors by rows so that each part of the mask has at most _DROPCONNECT_ELEMENTS."""
    num_rows = max(1, _DROPCONNECT_ELEMENTS // max(1, mask.shape[1:].numel()))
    return zip(*(torch.split(tensor, num_rows) for tensor in (mask, *others)), strict=True)


def dropconnect_moments(
    x: Tensor, weight: Tensor, bias: Tensor | None, p: float
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over the masks of what `dropconnect` computes: both (B, O).

    The pre-activation is a sum of many independent terms, so inference approximates it by a
    Gaussian with these moments. Raises ValueError unless 0 <= p < 1. Wan et al. 2013, section 3.1.
    """
    keep = keep_probability(check_probability(p, below_one=True))
    mean = F.linear(x, weight, bias)
    squares = F.linear(x.square(), weight.square(), None if bias is None else bias.square())
    return mean, squares * ((1.0 - keep) / keep)


def num_kept(num_units: int, p: float) -> int:
    """Return how many of its units a layer keeps under batchwise dropout, at least 1.

    Raises ValueError unless 0 <= p < 1.
    """
    check_probability(p, below_one=True)
    return max(1, round((1.0 - p) * num_units))


def keep_units(
    num_units: int,
    p: float,
    *,
    generator: Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Draw the units that batchwise dropout keeps: their indices (num_kept), int64, ascending.

    Their outputs are to be scaled by num_units / num_kept. Raises ValueError unless 0 <= p < 1.
    Graham, Reizenstein and Robinson 2015, section 2.
    """
    kept = num_kept(num_units, p)
    order = torch.randperm(num_units, generator=generator, device=device)
    return order[:kept].sort().values


def submatrix_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, rows: Tensor | None, columns: Tensor | None
) -> Tensor:
    """Compute the outputs `rows` of a linear layer from its inputs `columns`.

    Shapes: x (B, len(columns)), weight (O, I), bias (O) -> (B, len(rows)); None means all.
    Only the submatrix is multiplied, and gradients are scattered back into it. Graham, Reizenstein
    and Robinson 2015, section 2.
    """
    part = weight if rows is None else weight.index_select(0, rows)
    part = part if columns is None else part.index_select(1, columns)
    return F.linear(x, part, bias if bias is None or rows is None else bias.index_select(0, rows))


def maxout(x: Tensor, num_pieces: int) -> Tensor:
    """Return the largest of each unit's consecutive inputs: (*, H * num_pieces) -> (*, H).

    Raises ValueError unless the last dimension is a multiple of num_pieces. Goodfellow et al. 2013,
    section 3.
    """
    if x.shape[-1] % num_pieces:
        raise ValueError(f"{x.shape[-1]} inputs are not a multiple of {num_pieces} pieces")
    return x.view(*x.shape[:-1], x.shape[-1] // num_pieces, num_pieces).amax(dim=-1)


@torch.no_grad()
def max_norm_(weight: Tensor, bound: float) -> Tensor:
    """Scale each row of `weight` (*, O, I) whose L2 norm is above `bound` down to it, in place.

    Srivastava et al. 2014, section 5.1.
    """
    weight.flatten(0, -2).renorm_(2, 0, bound)
    return weight
