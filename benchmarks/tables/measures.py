"""How good predictions of held-out rows are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from benchmarks.tables.catalogue import Table

NUM_BINS = 15

PRIMARY = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}
"""The measure that contestants are ranked by, of each task."""

LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss", "ece"})


@dataclass(frozen=True)
class Forecast:
    """Predictions of N rows.

    - `values`: (N) classes, as text, or numbers.
    - `probabilities`: (N, C), one column for each of `classes`; None for numbers.
    - `sets`: (N, C) bool, which classes a conformal set has, or None.
    - `intervals`: (N, 2), the ends of conformal intervals, or None.
    """

    values: npt.NDArray[Any]
    probabilities: npt.NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    sets: npt.NDArray[Any] | None = None
    intervals: npt.NDArray[Any] | None = None


def measure(forecast: Forecast, true: npt.NDArray[Any], table: Table) -> dict[str, float]:
    """Return the measures of the table's task, and `coverage` if the forecast has sets."""
    measures = (
        _of_numbers(forecast, true) if table.is_regression else _of_classes(forecast, true, table)
    )
    return {name: float(value) for name, value in measures.items()}


def _of_numbers(forecast: Forecast, true: npt.NDArray[Any]) -> dict[str, float]:
    measures = {
        "r2": r2_score(true, forecast.values),
        "rmse": root_mean_squared_error(true, forecast.values),
        "mae": mean_absolute_error(true, forecast.values),
    }
    if forecast.intervals is not None:
        low, high = forecast.intervals.T
        measures["coverage"] = np.mean((low <= true) & (true <= high))
        measures["width"] = np.mean(high - low)
    return measures


def _of_classes(forecast: Forecast, true: npt.NDArray[Any], table: Table) -> dict[str, float]:
    """Measure a classification; `auc` is one-versus-rest for more than two classes."""
    assert forecast.probabilities is not None
    # A class that no training row has, has no column.
    p = np.zeros((len(true), len(table.classes)))
    p[:, [table.classes.index(name) for name in forecast.classes]] = forecast.probabilities
    p /= p.sum(axis=1, keepdims=True)
    index = np.array([table.classes.index(name) for name in true])
    measures = {
        "accuracy": accuracy_score(true, forecast.values),
        "log_loss": log_loss(index, p, labels=range(p.shape[1])),
        "ece": calibration_error(p.max(axis=1), p.argmax(axis=1) == index),
    }
    if len(set(index)) == p.shape[1]:
        scores = p[:, 1] if p.shape[1] == 2 else p
        measures["auc"] = roc_auc_score(index, scores, multi_class="ovr")
    if forecast.sets is not None:
        columns = [
            forecast.classes.index(name) if name in forecast.classes else -1 for name in true
        ]
        is_in = forecast.sets[np.arange(len(true)), columns] & (np.array(columns) >= 0)
        measures["coverage"] = np.mean(is_in)
        measures["width"] = np.mean(forecast.sets.sum(axis=1))
    return measures


def calibration_error(confidence: npt.NDArray[Any], is_right: npt.NDArray[Any]) -> float:
    """Return the expected calibration error of the likeliest class, in `NUM_BINS` equal bins of its
    probability (Guo et al. 2017, section 2).
    """
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    sizes = np.bincount(bins, minlength=NUM_BINS)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / sizes.sum())
