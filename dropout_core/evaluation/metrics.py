"""The metrics of each task, and those of one class against all others.

Shapes: N rows.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropout_core.config import Task

_ERRORS = ("log_loss", "brier", "expected_calibration_error")
PER_CLASS = ("f1", "roc_auc", "average_precision")
_OF_BOTH = (*PER_CLASS, *_ERRORS)
_OF_CLASSES = ("accuracy", "balanced_accuracy", *_OF_BOTH)
_OF_LABELS = ("accuracy", "subset_accuracy", *_OF_BOTH)
_OF_VALUES = ("rmse", "mae", "r2")

HIGHER_IS_BETTER = dict.fromkeys((*_OF_CLASSES, *_OF_LABELS, *_OF_VALUES), True) | dict.fromkeys(
    (*_ERRORS, "rmse", "mae"), False
)
"""All metrics, and whether higher values are better."""


def metric_names(task: Task) -> tuple[str, ...]:
    """Return the names of a task's metrics."""
    if task == "regression":
        return _OF_VALUES
    return _OF_LABELS if task == "multilabel" else _OF_CLASSES


def default_metric(task: Task) -> str:
    """Return the metric that is used for a task if none is named."""
    return "r2" if task == "regression" else "accuracy"


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
