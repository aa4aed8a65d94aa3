"""The metrics of each task. Free of torch."""

from dropout_core.config.problem import Task

PER_CLASS = ("f1", "roc_auc", "average_precision")
"""The metrics that each class has, and that are averaged over classes."""

_ERRORS = ("log_loss", "brier", "expected_calibration_error")
_OF_BOTH = (*PER_CLASS, *_ERRORS)
_OF_CLASSES = ("accuracy", "balanced_accuracy", *_OF_BOTH)
_OF_LABELS = ("accuracy", "subset_accuracy", *_OF_BOTH)
_OF_VALUES = ("rmse", "mae", "r2")
PINBALL_LOSS = "pinball_loss"

HIGHER_IS_BETTER = dict.fromkeys((*_OF_CLASSES, *_OF_LABELS, *_OF_VALUES), True) | dict.fromkeys(
    (*_ERRORS, "rmse", "mae", PINBALL_LOSS), False
)
"""All metrics, and whether higher values are better."""


def metric_names(task: Task, *, has_quantiles: bool = False) -> tuple[str, ...]:
    """Return the names of a task's metrics, for a regression also of its quantiles."""
    if task == "regression":
        return (*_OF_VALUES, PINBALL_LOSS) if has_quantiles else _OF_VALUES
    return _OF_LABELS if task == "multilabel" else _OF_CLASSES


def default_metric(task: Task) -> str:
    """Return the metric that is used for a task if none is named."""
    return "r2" if task == "regression" else "accuracy"
