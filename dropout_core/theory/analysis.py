"""Measures of what dropout does to hidden units: sparsity, co-adaptation, features.

Shapes: N rows, H hidden units.
"""

import torch
from torch import Tensor


def sparsity(activations: Tensor, *, threshold: float = 0.0) -> float:
    """Return the share of activations that are not above the threshold. Shape: (N, H).

    Srivastava et al. 2014, section 7.2.
    """
    return float((activations <= threshold).double().mean())


def co_adaptation(activations: Tensor) -> float:
    """Return the mean absolute correlation between two different hidden units. Shape: (N, H).

    Constant units are left out; the result is 0 if fewer than two others are there. Hinton et al.
    2012 say that dropout prevents co-adaptation; Cogswell et al. 2016, section 3, measure it by the
    covariance of activations.
    """
    alive = activations[:, activations.std(dim=0, correction=0) > 0].double()
    num_alive = alive.shape[1]
    if num_alive < 2:
        return 0.0
    correlation = torch.corrcoef(alive.T).abs()
    off_diagonal = correlation.sum() - correlation.diagonal().sum()
    return float(off_diagonal / (num_alive * (num_alive - 1)))


def feature_grid(weight: Tensor, *, height: int, width: int, num_columns: int = 16) -> Tensor:
    """Draw first-layer features as one grey image: each unit's weights, one pixel between units.

    Shape: (H, height * width) -> (rows * (height + 1) - 1, num_columns * (width + 1) - 1), uint8.
    Each feature is scaled to its own range; the lines between features and the empty cells of the
    last row are black. Raises ValueError unless a unit has height * width weights. Srivastava et
    al. 2014, figure 7.
    """
    num_units, num_weights = weight.shape
    if num_weights != height * width:
        raise ValueError(f"{num_weights} weights a unit do not make an image of {height} x {width}")
    low, high = weight.amin(dim=1, keepdim=True), weight.amax(dim=1, keepdim=True)
    scaled = (weight - low) / (high - low).clamp_min(torch.finfo(weight.dtype).tiny)
    images = (scaled * 255).round().to(torch.uint8).view(-1, height, width)
    num_rows = -(-num_units // num_columns)
    grid = torch.zeros(num_rows * (height + 1), num_columns * (width + 1), dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = index // num_columns * (height + 1), index % num_columns * (width + 1)
        grid[top : top + height, left : left + width] = image
    return grid[:-1, :-1]
