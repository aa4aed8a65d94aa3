"""The mathematics of dropout, as pure functions of tensors and an explicit generator."""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from dropout_core.masks import keep_mask, keep_probability


def check_probability(p: float) -> float:
    """Return p; raise ValueError unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


class _MaskAndScale(torch.autograd.Function):
    """y = x * mask * scale. Backward needs the mask alone: one byte an element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float, inplace: bool) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        if inplace:
            ctx.mark_dirty(x)
            return x.mul_(mask).mul_(scale)
        return x.mul(mask).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (mask,) = ctx.saved_tensors
        return grad.mul(mask).mul_(ctx.scale), None, None, None


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
    if scale is None:
        scale = 1.0 / keep_probability(p) if p < 1.0 else 0.0
    mask = keep_mask(x, p, generator=generator)
    return _MaskAndScale.apply(x, mask, scale, inplace)  # type: ignore[no-any-return, no-untyped-call]
