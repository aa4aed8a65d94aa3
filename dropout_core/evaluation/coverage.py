"""The coverage of conformal predictions: how often sets and intervals contain the truth.

Shapes: B rows of a batch, C classes, T regression targets, L levels.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.model.conformal import Conformal, LevelError
from dropout_core.model.predictor import Predictor

LEVELS = (0.8, 0.9, 0.95)
"""The levels whose coverage an evaluation reports."""


def reported(predictor: Predictor) -> list[Conformal]:
    """Return the conformal predictions at LEVELS, as far as the model has scores enough."""
    found = []
    for level in LEVELS:
        try:
            found.append(predictor.conformal(level))
        except LevelError:
            break
    return found


class Coverage:
    """Count for each of `conformal` how many rows' truth is contained, and the mean size.

    Each target of a regression counts. Sizes are summed in the order they were added, so the result
    does not depend on the batches.
    """

    def __init__(self, task: Task, conformal: Sequence[Conformal]) -> None:
        self._has_values = task == "regression"
        self._conformal = conformal
        self._num_added = 0
        self._num_contained = [0] * len(conformal)
        self._sizes = torch.zeros(len(conformal), dtype=torch.float64)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count rows: outputs (B, C) and class indices (B), or values (B, T)."""
        self._num_added += targets.numel()
        for index, conformal in enumerate(self._conformal):
            if self._has_values:
                lower, upper = conformal.intervals(outputs).unbind(2)
                contained = (lower <= targets) & (targets <= upper)
                sizes = (upper - lower).flatten()
            else:
                contains = conformal.contains(outputs)
                contained = contains.gather(1, targets[:, None])
                sizes = contains.sum(dim=1).double()
            self._num_contained[index] += int(contained.sum())
            self._sizes.index_add_(0, torch.full((len(sizes),), index), sizes)

    def scores(self) -> list[dict[str, Any]] | None:
        """Return `level`, `coverage`, and `mean_size` of sets or `mean_width` of intervals.

        `mean_width` is None where it is infinite. None without any conformal predictions.
        """
        size = "mean_width" if self._has_values else "mean_size"
        means = (self._sizes / self._num_added).tolist()
        return [
            {
                "level": conformal.level,
                "coverage": num_contained / self._num_added,
                size: mean if math.isfinite(mean) else None,
            }
            for conformal, num_contained, mean in zip(
                self._conformal, self._num_contained, means, strict=True
            )
        ] or None
