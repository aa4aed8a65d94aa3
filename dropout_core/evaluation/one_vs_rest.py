"""A class against all others: precision, recall, F1, ROC-AUC and average precision.

Shapes: N rows.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def scores_of_class(
    name: Any, probabilities: Tensor, *, predicted: Tensor, true: Tensor
) -> dict[str, Any]:
    """What one class is scored by, None where undefined; `num_rows` are those of the class.

    Shapes: (N) float64 of the class, and (N) bool, whether a row is predicted to be of it and is.
    """
    num_hits, num_predicted, num_true = (
        int(rows.sum()) for rows in (predicted & true, predicted, true)
    )
    roc_auc, average_precision = roc_auc_and_average_precision(probabilities, true)
    return {
        "class": name,
        "num_rows": num_true,
        "precision": num_hits / num_predicted if num_predicted else None,
        "recall": num_hits / num_true if num_true else None,
        "f1": 2 * num_hits / (num_predicted + num_true) if num_predicted + num_true else None,
        "roc_auc": roc_auc,
        "average_precision": average_precision,
    }


def mean_over_classes(scores: list[dict[str, Any]], key: str) -> float | None:
    """The mean over the classes for which it is defined; None if there are none."""
    values = [entry[key] for entry in scores if entry[key] is not None]
    return sum(values) / len(values) if values else None


def roc_auc_and_average_precision(
    scores: Tensor, positive: Tensor
) -> tuple[float | None, float | None]:
    """How well scores put the positive rows before the others. Shapes: (N) and (N) bool.

    The area is the chance that a positive row has a higher score than a negative one, a tie being
    half a chance (Hanley and McNeil 1982); None unless there are both. The precision is averaged
    over the positive rows, each at the threshold of its own score, without interpolation (Manning
    et al. 2008, section 8.4); None without positive rows. Rows of one score are one threshold.
    """
    positives = _sort(scores[positive])
    num_positive, num_rows = len(positives), len(scores)
    if num_positive == 0:
        return None, None
    every = _sort(scores)
    thresholds, counts = torch.unique_consecutive(positives, return_counts=True)
    # Counts are whole numbers, so ties and sums are exact; only the quotients round.
    not_higher_positives = counts.cumsum(dim=0)
    lower_positives = not_higher_positives - counts
    lower = torch.searchsorted(every, thresholds)
    precision = (num_positive - lower_positives) / (num_rows - lower).double()
    average_precision = float(precision.repeat_interleave(counts).mean())
    num_negative = num_rows - num_positive
    if num_negative == 0:
        return None, average_precision
    not_higher = torch.searchsorted(every, thresholds, right=True)
    halves = counts * ((lower - lower_positives) + (not_higher - not_higher_positives))
    return int(halves.sum()) / (2 * num_positive * num_negative), average_precision


def _sort(values: Tensor) -> Tensor:
    # torch's sort also makes the order, which costs as much again.
    return torch.from_numpy(np.sort(values.numpy()))
