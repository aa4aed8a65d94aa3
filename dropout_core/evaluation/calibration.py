"""Calibration: how well the confidence of decisions agrees with their accuracy.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2. Shapes: N decisions.
"""

from typing import Any

import torch
from torch import Tensor

NUM_BINS = 10

_INNER_EDGES = torch.arange(1, NUM_BINS, dtype=torch.float64) / NUM_BINS


class Reliability:
    """Mean confidence and accuracy of the decisions in each of ten equal bins of confidence.

    A bin includes its upper edge and not its lower one; empty bins are left out. Decisions are
    summed in the order they were added, so the result does not depend on the batches.
    """

    def __init__(self) -> None:
        self._counts = torch.zeros(NUM_BINS, dtype=torch.int64)
        self._confidence, self._correct = torch.zeros(2, NUM_BINS, dtype=torch.float64)

    def add(self, confidence: Tensor, correct: Tensor) -> None:
        """Count decisions. Shapes: (N) float64 in [0, 1] and (N) bool."""
        bins = torch.bucketize(confidence, _INNER_EDGES)
        self._counts += torch.bincount(bins, minlength=NUM_BINS)
        self._confidence.index_add_(0, bins, confidence)
        self._correct.index_add_(0, bins, correct.double())

    def bins(self) -> list[dict[str, Any]]:
        """Return `lower`, `upper`, `num_rows`, `mean_confidence` and `accuracy` of each bin."""
        means, accuracies = (
            (sums / self._counts).tolist() for sums in (self._confidence, self._correct)
        )
        return [
            {
                "lower": index / NUM_BINS,
                "upper": (index + 1) / NUM_BINS,
                "num_rows": count,
                "mean_confidence": means[index],
                "accuracy": accuracies[index],
            }
            for index, count in enumerate(self._counts.tolist())
            if count
        ]


def expected_calibration_error(bins: list[dict[str, Any]]) -> float:
    """Return the mean distance of confidence and accuracy, with bins weighted by their rows."""
    total = sum(b["num_rows"] for b in bins)
    gaps = (b["num_rows"] * abs(b["mean_confidence"] - b["accuracy"]) for b in bins)
    return float(sum(gaps) / total)
