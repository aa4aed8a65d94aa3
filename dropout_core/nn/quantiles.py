"""What a network that predicts quantiles of its targets predicts as their values.

Shapes: N rows, T targets, Q quantiles of each.
"""

from collections.abc import Sequence

from torch import Tensor


def median_index(levels: Sequence[float]) -> int:
    """Return the index of the level that is nearest to one half, the lower of two."""
    return min(range(len(levels)), key=lambda index: abs(levels[index] - 0.5))


def medians(outputs: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the quantile next to the median of each target: (N, T * Q) -> (N, T).

    The outputs of a target follow each other, in the order of the levels. Quantiles that cross are
    sorted first (Chernozhukov et al. 2010).
    """
    return uncrossed(outputs, len(levels))[..., median_index(levels) :: len(levels)]


def uncrossed(outputs: Tensor, num_quantiles: int) -> Tensor:
    """Return the quantiles of each target in ascending order: (N, T * Q) -> (N, T * Q)."""
    *others, num_outputs = outputs.shape
    by_target = outputs.reshape(*others, num_outputs // num_quantiles, num_quantiles)
    return by_target.sort(dim=-1).values.flatten(-2)
