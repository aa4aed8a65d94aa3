"""The scores of one class against all others, and their means.

Shapes: N rows, C classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropout_core.config.metrics import PER_CLASS


def scores_of_classes(
    column: Callable[[int], Tensor], predicted: Tensor, targets: Tensor, *, names: Sequence[Any]
) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
    """Return the scores of each class, and those of all: balanced accuracy and `PER_CLASS`.

    With two classes, `PER_CLASS` are those of the second; with more, means over the classes.
    `column` returns the probabilities of a class: (N) float64. Shapes: class indices (N), (N).
    """
    of_classes = [
        scores_of_class(name, column(i), predicted=predicted == i, true=targets == i)
        for i, name in enumerate(names)
    ]
    headline = of_classes[1:] if len(names) == 2 else of_classes
    return of_classes, {
        "balanced_accuracy": mean_over_classes(of_classes, "recall"),
        **{key: mean_over_classes(headline, key) for key in PER_CLASS},
    }


def scores_of_class(
    name: Any, probabilities: Tensor, *, predicted: Tensor, true: Tensor
) -> dict[str, Any]:
    """Return the metrics of one class, None where undefined, and the number of its rows.

    Shapes: probabilities of the class (N) float64; `predicted` and `true`, whether a row is
    predicted to belong to the class and whether it does, (N) bool.
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
    """Return the mean over the classes for which `key` is defined; None if there are none."""
    values = [entry[key] for entry in scores if entry[key] is not None]
    return sum(values) / len(values) if values else None


def roc_auc_and_average_precision(
    scores: Tensor, positive: Tensor
) -> tuple[float | None, float | None]:
    """Return how well scores rank positive rows before negative ones. Shapes: (N) and (N) bool.

    The ROC-AUC is the probability that a positive row has a higher score than a negative one, where
    a tie counts one half (Hanley and McNeil 1982); None unless there are both. The precision is
    averaged over the positive rows, each at the threshold of its own score, without interpolation
    (Manning et al. 2008, section 8.4); None without positive rows. Equal scores are one threshold.
    """
    positives = _sort(scores[positive])
    num_positive, num_rows = len(positives), len(scores)
    if num_positive == 0:
        return None, None
    every = _sort(scores)
    thresholds, counts = torch.unique_consecutive(positives, return_counts=True)
    # Counts are integers, so ties and sums are exact; only the quotients round.
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
    # torch's sort also returns the indices, which doubles the time.
    return torch.from_numpy(np.sort(values.numpy()))
