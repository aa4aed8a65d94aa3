"""Whether a model is right as often as it claims.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2. Shapes: N decisions.
"""

from typing import Any

import torch
from torch import Tensor

NUM_BINS = 10


def reliability(confidence: Tensor, correct: Tensor) -> list[dict[str, Any]]:
    """Mean confidence and accuracy of the decisions in each of ten equal bins of confidence.

    Shapes: (N) float64 in [0, 1] and (N) bool. A bin holds its upper edge and not its lower one;
    empty bins are left out.
    """
    inner_edges = torch.arange(1, NUM_BINS, dtype=torch.float64) / NUM_BINS
    bins = torch.bucketize(confidence, inner_edges)
    counts = torch.bincount(bins, minlength=NUM_BINS)
    means, accuracies = (
        (torch.bincount(bins, weights=values, minlength=NUM_BINS) / counts).tolist()
        for values in (confidence, correct.double())
    )
    return [
        {
            "lower": index / NUM_BINS,
            "upper": (index + 1) / NUM_BINS,
            "num_rows": count,
            "mean_confidence": means[index],
            "accuracy": accuracies[index],
        }
        for index, count in enumerate(counts.tolist())
        if count
    ]


def expected_calibration_error(bins: list[dict[str, Any]]) -> float:
    """The mean distance of confidence and accuracy, a bin of `reliability` counting by its rows."""
    total = sum(b["num_rows"] for b in bins)
    gaps = (b["num_rows"] * abs(b["mean_confidence"] - b["accuracy"]) for b in bins)
    return float(sum(gaps) / total)
