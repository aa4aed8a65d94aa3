"""The mathematics of dropout, as pure functions of tensors and an explicit generator.

Shapes: B rows of a batch, I inputs and O outputs of a linear layer.
"""

import math
from typing import Any, get_args

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dropout_core.config import FusedActivation
from dropout_core.nn import kernels
from dropout_core.nn.masks import keep_mask, keep_probability

# Masks of single examples are as large as the weights times the rows: so many elements at a time.
_DROPCONNECT_ELEMENTS = 1 << 24


def check_probability(p: float) -> float:
    """Return p; raise ValueError unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


class _MaskAndScale(torch.autograd.Function):
    """y = x * mask * scale. Backward needs the mask alone: one byte an element, int8."""

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


def survivor_scale(p: float) -> float:
    """What inverted dropout multiplies survivors by: the inverse of the realised probability."""
    return 1.0 / keep_probability(p) if p < 1.0 else 0.0


def gaussian_dropout(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Multiply each element by noise from N(1, p / (1 - p)): the variance of Bernoulli dropout.

    Shape: (*) -> (*). Nothing is zeroed and nothing scaled, in training or after. Raises
    ValueError unless 0 <= p < 1. Srivastava et al. 2014, section 10.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"Gaussian dropout needs p of at least 0 and below 1, but got {p}")
    if p == 0.0:
        return x
    noise = torch.empty_like(x, requires_grad=False)
    noise.normal_(1.0, math.sqrt(p / (1.0 - p)), generator=generator)
    return x * noise


def activate_(x: Tensor, activation: FusedActivation) -> Tensor:
    """Apply the activation in place."""
    match activation:
        case "relu":
            return x.relu_()
        case "tanh":
            return x.tanh_()
        case "logistic":
            return x.sigmoid_()


def activation_backward(grad: Tensor, activated: Tensor, activation: FusedActivation) -> Tensor:
    """The gradient before the activation, from the one after it and what came out of it."""
    aten = torch.ops.aten
    match activation:
        case "relu":
            before: Tensor = aten.threshold_backward(grad, activated, 0)
        case "tanh":
            before = aten.tanh_backward(grad, activated)
        case "logistic":
            before = aten.sigmoid_backward(grad, activated)
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
    """`dropout(activation(F.linear(x, weight, bias)), p)` in one step with one backward.

    Shapes: x (B, I), weight (O, I), bias (O) -> (B, O). Of a ReLU nothing is kept for backward but
    the result: its zeros are both the units at rest and the dropped ones. `scale` is as in
    `dropout`. With `bfloat16` the matrix products round their inputs to bfloat16 and add up in
    float32. Raises ValueError unless 0 <= p <= 1 and the activation is one of these.
    """
    check_probability(p)
    if activation not in get_args(FusedActivation):
        raise ValueError(f"no fused activation {activation!r}")
    factor = survivor_scale(p) if scale is None else scale
    factor = factor if p > 0.0 else 1.0
    if kernels.is_available(x.device) and x.dtype != torch.float64:
        z = F.linear(x.bfloat16(), weight.bfloat16()).float() if bfloat16 else F.linear(x, weight)
        return kernels.bias_activation_dropout(
            z, bias, p, activation=activation, generator=generator, scale=factor
        )
    return _LinearDropout.apply(  # type: ignore[no-any-return, no-untyped-call]
        x, weight, bias, p, factor, generator, activation, bfloat16
    )


class _LinearDropout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        p: float,
        scale: float,
        generator: Generator | None,
        activation: FusedActivation,
        bfloat16: bool,
    ) -> Tensor:
        if bfloat16:
            x, weight = x.bfloat16(), weight.bfloat16()
        y = F.linear(x, weight, None if bias is None or bfloat16 else bias)
        if bfloat16:
            y = y.float() if bias is None else y.float().add_(bias)
        activate_(y, activation)
        # What the derivative is a function of: the activations before they are dropped.
        kept = y if activation == "relu" else y.clone()
        mask = keep_mask(y, p, generator=generator, dtype=y.dtype) if p > 0.0 else None
        if mask is not None:
            y.mul_(mask)
        if scale != 1.0:
            y.mul_(scale)
        ctx.save_for_backward(x, weight, kept, None if activation == "relu" else mask)
        ctx.scale, ctx.activation, ctx.bfloat16 = scale, activation, bfloat16
        ctx.has_bias = bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept, mask = ctx.saved_tensors
        grad = activation_backward(grad, kept, ctx.activation)
        if mask is not None:
            grad.mul_(mask)
        if ctx.scale != 1.0:
            grad.mul_(ctx.scale)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_bias = grad.sum(dim=0) if ctx.has_bias and needs_bias else None
        factor = grad.bfloat16() if ctx.bfloat16 else grad
        grad_x = factor.mm(weight) if needs_x else None
        grad_weight = factor.t().mm(x) if needs_weight else None
        if ctx.bfloat16:
            grad_x = None if grad_x is None else grad_x.float()
            grad_weight = None if grad_weight is None else grad_weight.float()
        return grad_x, grad_weight, grad_bias, None, None, None, None, None


def dropconnect(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    p: float,
    *,
    per_example: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """A linear layer whose weights and biases are each dropped with probability p.

    Shapes: x (B, I), weight (O, I), bias (O) -> (B, O). Every row has a mask of its own, or all
    share one. The survivors are scaled by 1 / (1 - p), so that inference with mean weights is the
    plain layer. Raises ValueError unless 0 <= p <= 1. Wan et al. 2013, section 3.
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
    """A linear layer with a weight mask for each row, a few rows at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        ctx.scale = scale
        parts = [
            torch.einsum("boi,bi->bo", m * weight, rows)
            for m, rows in zip(_row_parts(mask), _row_parts(x, like=mask), strict=True)
        ]
        return torch.cat(parts).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, mask = ctx.saved_tensors
        grad = grad * ctx.scale
        grad_x, grad_weight = [], torch.zeros_like(weight)
        parts = (_row_parts(mask), _row_parts(x, like=mask), _row_parts(grad, like=mask))
        for m, rows, g in zip(*parts, strict=True):
            grad_x.append(torch.einsum("boi,bo->bi", m * weight, g))
            grad_weight += torch.einsum("boi,bo,bi->oi", m.to(g.dtype), g, rows)
        return torch.cat(grad_x), grad_weight, None, None


def _row_parts(tensor: Tensor, *, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split rows so that the masks of a part stay below _DROPCONNECT_ELEMENTS."""
    mask = tensor if like is None else like
    return torch.split(tensor, max(1, _DROPCONNECT_ELEMENTS // max(1, mask.shape[1:].numel())))


def dropconnect_moments(
    x: Tensor, weight: Tensor, bias: Tensor | None, p: float
) -> tuple[Tensor, Tensor]:
    """Mean and variance of what `dropconnect` computes over its masks: both (B, O).

    The pre-activation is a sum of many independent terms, so a Gaussian with these moments stands
    for it at inference. Raises ValueError unless 0 <= p < 1. Wan et al. 2013, section 3.1.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"DropConnect has moments for p of at least 0 and below 1, but got {p}")
    keep = keep_probability(p)
    mean = F.linear(x, weight, bias)
    squares = F.linear(x.square(), weight.square(), None if bias is None else bias.square())
    return mean, squares * ((1.0 - keep) / keep)


def num_kept(num_units: int, p: float) -> int:
    """How many of its units a layer keeps under batchwise dropout: an exact number, at least 1.

    Raises ValueError unless 0 <= p < 1.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"batchwise dropout needs p of at least 0 and below 1, but got {p}")
    return max(1, round((1.0 - p) * num_units))


def keep_units(
    num_units: int,
    p: float,
    *,
    generator: Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Which units batchwise dropout keeps: (num_kept) int64, ascending.

    The scale that goes with them is num_units / num_kept. Raises ValueError unless 0 <= p < 1.
    Graham, Reizenstein and Robinson 2015, section 2.
    """
    kept = num_kept(num_units, p)
    order = torch.randperm(num_units, generator=generator, device=device)
    return order[:kept].sort().values


def submatrix_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, rows: Tensor | None, columns: Tensor | None
) -> Tensor:
    """The outputs `rows` of a linear layer, of which the inputs `columns` are given.

    Shapes: x (B, len(columns)), weight (O, I), bias (O) -> (B, len(rows)); None stands for all.
    Only the submatrix is multiplied, and gradients are scattered back into it. Graham, Reizenstein
    and Robinson 2015, section 2.
    """
    part = weight if rows is None else weight.index_select(0, rows)
    part = part if columns is None else part.index_select(1, columns)
    return F.linear(x, part, bias if bias is None or rows is None else bias.index_select(0, rows))


def maxout(x: Tensor, num_pieces: int) -> Tensor:
    """The largest of each unit's `num_pieces` consecutive inputs: (*, H * num_pieces) -> (*, H).

    Raises ValueError if the last dimension is no multiple of num_pieces. Goodfellow et al. 2013,
    section 3.
    """
    if x.shape[-1] % num_pieces:
        raise ValueError(f"{x.shape[-1]} inputs are no multiple of {num_pieces} pieces")
    return x.view(*x.shape[:-1], x.shape[-1] // num_pieces, num_pieces).amax(dim=-1)


@torch.no_grad()
def max_norm_(weight: Tensor, bound: float) -> Tensor:
    """Scale each unit's incoming weights, a row of (O, I), down to L2 norm `bound`, in place.

    Srivastava et al. 2014, section 5.1.
    """
    return weight.renorm_(2, 0, bound)
