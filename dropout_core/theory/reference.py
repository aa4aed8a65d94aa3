"""Textbook dropout in NumPy: slow and obvious; tests compare the fast one with it.

Inverted dropout as taught in Stanford's CS231n: the forward pass returns a cache for backward.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dropout_core.nn.masks import check_probability

Array = NDArray[np.floating]


@dataclass(frozen=True)
class DropoutCache:
    """The input of `dropout_backward`: `scaled_mask` is 0 or 1 / (1 - p) for each element."""

    mode: Literal["train", "test"]
    scaled_mask: Array | None


def dropout_forward(
    x: Array,
    p: float,
    *,
    mode: Literal["train", "test"],
    seed: int | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Array, DropoutCache]:
    """Drop each element of x with probability p when training, pass x through in test mode.

    Shape: (*) -> (*). `mask` (True keeps) replaces the draw. Raises ValueError unless 0 <= p <= 1.
    """
    check_probability(p)
    if mode == "test":
        return x, DropoutCache(mode, None)
    if mask is None:
        mask = np.random.default_rng(seed).random(x.shape) >= p
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    scaled_mask = mask.astype(x.dtype) * scale
    return x * scaled_mask, DropoutCache(mode, scaled_mask)


def dropout_backward(grad_out: Array, cache: DropoutCache) -> Array:
    """Return the gradient with respect to the input of the forward pass that made `cache`."""
    if cache.scaled_mask is None:
        return grad_out
    return grad_out * cache.scaled_mask
