"""Bias, activation and dropout in one pass over memory, as Triton kernels for a GPU.

A mask is not stored but drawn twice: forward and backward read the same seed and run the same
counter-based generator on the element's index (Philox-4x32-10: Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"). A call saves only its result and that seed for backward.

One draw of Philox is four words of 32 bits, which are eight 16-bit integers. These are compared
with `masks.keep_threshold`, so the probability realised is `masks.keep_probability` here too. The
masks differ from those of `masks.keep_mask`.

The derivatives repeat those of `functional.activate_and_drop_backward`: Triton compiles these
functions from their source and cannot call torch.

Shapes: B rows of a batch, O outputs of a linear layer.
"""

from __future__ import annotations  # Triton, which the annotations name, may not be installed

from typing import Any, get_args

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from dropout_core.config import FusedActivation
from dropout_core.nn.masks import LEVELS, check_probability, keep_threshold, survivor_scale

try:
    import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
    from triton import language as tl
except ImportError:
    triton = None

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# Draws of one program. The eight elements of a draw lie this far apart, so that neighbouring lanes
# read and write neighbouring addresses. The mask is a function of this number.
_NUM_LANES = 256
_ELEMENTS_PER_DRAW = 8


def is_available(device: torch.device) -> bool:
    """Return whether the kernels run on this device: it is a GPU, and Triton is installed."""
    return device.type == "cuda" and triton is not None


def bias_activation_dropout(
    z: Tensor,
    bias: Tensor | None,
    p: float,
    *,
    activation: FusedActivation,
    generator: Generator | None = None,
    scale: float | None = None,
) -> Tensor:
    """Compute `dropout(activation(z + bias), p)` by one kernel, and its gradient by another.

    Shapes: z (B, O), bias (O) or None -> (B, O), of the dtype of z: float32, bfloat16 or float16,
    computed in float32. The draw is a function of the generator's state and the number of elements;
    nothing is drawn where p is 0 or 1, and p = 1 gives zeros with zero gradient. Survivors are
    multiplied by `scale`, by default the inverse of the realised probability. The call does not
    wait for the device, and a captured graph draws anew at every replay. Raises ValueError unless
    0 <= p <= 1 and the activation is a FusedActivation, TypeError for other dtypes.
    """
    check_probability(p)
    if activation not in get_args(FusedActivation):
        raise ValueError(f"no fused activation {activation!r}")
    if z.dtype not in _DTYPES:
        raise TypeError(f"the kernels compute in float32, but got {z.dtype}")
    if scale is None:
        scale = survivor_scale(p)
    threshold = keep_threshold(p)
    seed = torch.empty(1, dtype=torch.int64, device=z.device)  # stays on the device
    if 0 < threshold < LEVELS:  # otherwise the kernels ignore the seed
        seed.random_(-(2**63), None, generator=generator)
    return _BiasActivationDropout.apply(  # type: ignore[no-any-return, no-untyped-call]
        z, bias, seed, threshold, scale, activation
    )


class _BiasActivationDropout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        bias: Tensor | None,
        seed: Tensor,
        threshold: int,
        scale: float,
        activation: FusedActivation,
    ) -> Tensor:
        z = z.contiguous()
        y = torch.empty_like(z)
        given = (z, z if bias is None else bias.contiguous(), y, seed)
        numbers = (z.numel(), z.shape[1], threshold, scale)
        _launch(_forward_kernel, *given, *numbers, activation=activation, has_bias=bias is not None)
        # The activation is read off the result, wherever it was not dropped.
        ctx.save_for_backward(y, seed)
        ctx.threshold, ctx.scale, ctx.activation = threshold, scale, activation
        ctx.bias_dtype = None if bias is None else bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, seed = ctx.saved_tensors
        grad = grad.contiguous()
        grad_z = torch.empty_like(grad)
        inverse_scale = 1.0 / ctx.scale if ctx.scale else 0.0
        numbers = (grad.numel(), ctx.threshold, ctx.scale, inverse_scale)
        _launch(_backward_kernel, grad, y, grad_z, seed, *numbers, activation=ctx.activation)
        wants_bias = ctx.bias_dtype is not None and ctx.needs_input_grad[1]
        grad_bias = grad_z.sum(dim=0, dtype=ctx.bias_dtype) if wants_bias else None
        return grad_z, grad_bias, None, None, None, None


def _launch(kernel: Any, like: Tensor, *arguments: Any, **constants: Any) -> None:
    """Launch as many programs as the elements of `like`, the first argument, need."""
    grid = (-(-like.numel() // (_NUM_LANES * _ELEMENTS_PER_DRAW)),)
    # Triton 3.9 warns where `enable_fp_fusion` is left open.
    constants |= {"num_lanes": _NUM_LANES, "enable_fp_fusion": True}
    with torch.cuda.device_of(like):  # type: ignore[no-untyped-call]
        kernel[grid](like, *arguments, **constants)


def _jit(function: Any) -> Any:
    """Apply `triton.jit` if Triton is installed; this module is imported where it is not, too."""
    return function if triton is None else triton.jit(function)


@_jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    z,
    bias,
    y,
    seed,
    num_elements,
    num_columns,
    threshold,
    scale,
    activation: tl.constexpr,
    has_bias: tl.constexpr,
    num_lanes: tl.constexpr,
):
    # A tensor may have more elements than an int32 counts; a program's part of it does not.
    program = tl.program_id(0).to(tl.int64)
    start = program * (8 * num_lanes)
    lanes = tl.arange(0, num_lanes)
    words = tl.randint4x(tl.load(seed), program * num_lanes + lanes)
    first_column = (start % num_columns).to(tl.int32)
    for part in tl.static_range(8):
        offsets = part * num_lanes + lanes
        exists = offsets < num_elements - start
        x = tl.load(z + start + offsets, mask=exists, other=0.0).to(tl.float32)
        if has_bias:
            columns = (first_column + offsets) % num_columns
            x += tl.load(bias + columns, mask=exists, other=0.0).to(tl.float32)
        kept = _is_kept(words[part // 2], part % 2, threshold)
        result = tl.where(kept, _activated(x, activation) * scale, 0.0)
        tl.store(y + start + offsets, result.to(y.dtype.element_ty), mask=exists)


@_jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    grad,
    y,
    grad_z,
    seed,
    num_elements,
    threshold,
    scale,
    inverse_scale,
    activation: tl.constexpr,
    num_lanes: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    start = program * (8 * num_lanes)
    lanes = tl.arange(0, num_lanes)
    words = tl.randint4x(tl.load(seed), program * num_lanes + lanes)
    for part in tl.static_range(8):
        offsets = part * num_lanes + lanes
        exists = offsets < num_elements - start
        slope = tl.load(grad + start + offsets, mask=exists, other=0.0).to(tl.float32) * scale
        result = tl.load(y + start + offsets, mask=exists, other=0.0).to(tl.float32)
        kept = _is_kept(words[part // 2], part % 2, threshold)
        slope = tl.where(kept, slope * _derivative(result * inverse_scale, activation), 0.0)
        tl.store(grad_z + start + offsets, slope.to(grad_z.dtype.element_ty), mask=exists)


@_jit
def _is_kept(word, half: tl.constexpr, threshold):  # type: ignore[no-untyped-def]
    """Return whether one half of a word, read as an unsigned integer, is below the threshold."""
    return ((word >> (16 * half)) & 0xFFFF).to(tl.int32) < threshold


@_jit
def _activated(x, activation: tl.constexpr):  # type: ignore[no-untyped-def]
    if activation == "relu":
        result = tl.where(x <= 0.0, 0.0, x)  # keeps NaN
    elif activation == "tanh":
        result = _tanh(x)
    else:
        result = 1.0 / (1.0 + tl.exp(-x))
    return result


@_jit
def _derivative(activated, activation: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the derivative of the activation where its result is `activated`."""
    if activation == "relu":
        slope = tl.where(activated == 0.0, 0.0, 1.0)
    elif activation == "tanh":
        slope = 1.0 - activated * activated
    else:
        slope = activated * (1.0 - activated)
    return slope


@_jit
def _tanh(x):  # type: ignore[no-untyped-def]
    """Use Taylor's series near zero, whose next term is below 1e-8 of the result, else exp."""
    square = x * x
    series = -17.0 / 315.0 + square * (62.0 / 2835.0)
    series = x + x * square * (-1.0 / 3.0 + square * (2.0 / 15.0 + square * series))
    return tl.where(tl.abs(x) < 0.25, series, 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0))
