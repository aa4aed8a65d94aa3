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
    of_targets = outputs.reshape(*outputs.shape[:-1], -1, len(levels))
    return of_targets.sort(dim=-1).values[..., median_index(levels)]
