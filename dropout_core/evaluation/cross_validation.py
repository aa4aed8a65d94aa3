"""The summary of a cross-validation over its folds."""

import statistics
from collections.abc import Sequence
from typing import Any


def summary(folds: Sequence[dict[str, Any]], *, of: int | None = None) -> dict[str, Any]:
    """Return the folds' evaluations, and the mean and standard deviation of each metric.

    `of` is the planned number of folds, if the run ended before all were scored. The deviation is
    the sample's (divided by n - 1); folds in which a metric is undefined (None) are left out of it.
    """
    values = {
        name: [fold["metrics"][name] for fold in folds if fold["metrics"][name] is not None]
        for name in folds[0]["metrics"]
    }
    return {
        "num_folds": of or len(folds),
        "folds": list(folds),
        "mean": {
            name: statistics.fmean(known) if known else None for name, known in values.items()
        },
        "standard_deviation": {
            name: statistics.stdev(known) if len(known) > 1 else None
            for name, known in values.items()
        },
    }
