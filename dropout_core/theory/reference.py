"""Textbook dropout in NumPy: slow and obvious; tests compare the fast one with it.

Inverted dropout as taught in Stanford's CS231n: the forward pass returns a cache for backward.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dropout_core.nn.masks import check_probability

Array = NDArray[np.floating]


def dropout_forward(
    x: Array,
    p: float,
    *,
    mode: Literal["train", "test"],
    seed: int | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Array, Array | None]:
    """Drop each element of x with probability p when training, pass x through in test mode.

    Also return the cache of `dropout_backward`: 0 or 1 / (1 - p) for each element, None in test
    mode. `mask` (True keeps) replaces the draw. Shape: (*) -> (*), (*). Raises ValueError unless
    0 <= p <= 1.
    """
    check_probability(p)
    if mode == "test":
        return x, None
    if mask is None:
        mask = np.random.default_rng(seed).random(x.shape) >= p
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    scaled_mask = mask.astype(x.dtype) * scale
    return x * scaled_mask, scaled_mask


def dropout_backward(grad_out: Array, cache: Array | None) -> Array:
    """Return the gradient with respect to the input of the forward pass that made `cache`."""
    return grad_out if cache is None else grad_out * cache
