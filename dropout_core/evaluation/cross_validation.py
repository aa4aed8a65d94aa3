"""What the folds of a cross-validation come to."""

import statistics
from collections.abc import Sequence
from typing import Any


def summary(folds: Sequence[dict[str, Any]], *, of: int | None = None) -> dict[str, Any]:
    """The evaluations of the folds, and of each metric the mean and the standard deviation.

    `of` says how many folds there were to be, where a run was ended before all were scored.
    The deviation is that of a sample, from fold to fold; a metric that is undefined (None) in some
    folds is summed up over the others.
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
