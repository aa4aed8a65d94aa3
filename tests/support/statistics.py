"""Tolerances derived from distributions."""

import itertools
import math

import torch
from torch import Tensor

# A normal variable strays further than this many standard deviations with probability 1e-9. Sums
# of the many independent draws of these tests are as good as normal, and their seeds are fixed.
SIGMAS = 6.11


def tolerance(variance: float, num_draws: int) -> float:
    """Return how far the mean of independent draws may be from its expectation."""
    return SIGMAS * math.sqrt(variance / num_draws)


def every_mask(num_elements: int, keep: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return all masks (2^n, n) of n elements kept with probability `keep`, and their weights."""
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=num_elements))).double()
    return masks, (masks * keep + (1 - masks) * (1 - keep)).prod(dim=1)
