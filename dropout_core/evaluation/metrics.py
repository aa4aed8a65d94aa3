"""What a task is trained by, and the metrics that it is scored by in the end; see `evaluation`.

Shapes: N rows, C classes, L labels, T regression targets.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import Task

HIGHER_IS_BETTER = {
    "accuracy": True,
    "subset_accuracy": True,
    "balanced_accuracy": True,
    "f1": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "expected_calibration_error": False,
    "rmse": False,
    "mae": False,
    "r2": True,
}
"""Every metric there is, and which way it points."""

_OF_BOTH = ("f1", "roc_auc", "average_precision", "log_loss", "brier", "expected_calibration_error")
_OF_CLASSES = ("accuracy", "balanced_accuracy", *_OF_BOTH)
_OF_LABELS = ("accuracy", "subset_accuracy", *_OF_BOTH)
_OF_VALUES = ("rmse", "mae", "r2")


def metric_names(task: Task) -> tuple[str, ...]:
    """The metrics of a task."""
    if task == "regression":
        return _OF_VALUES
    return _OF_LABELS if task == "multilabel" else _OF_CLASSES


def default_metric(task: Task) -> str:
    """What a model of a task is judged by if nothing else is asked for, such as `accuracy`."""
    return "r2" if task == "regression" else "accuracy"


def loss(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The mean loss of a task: cross-entropy of logits, of each label's logit, or squared error.

    Shape: outputs (N, C) and targets (N) of class indices; multilabel both (N, L), targets 0 or 1;
    regression both (N, T). -> ()
    """
    if task == "regression":
        return F.mse_loss(outputs, targets)
    if task == "multilabel":
        return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype))
    return F.cross_entropy(outputs, targets)


def score(outputs: Tensor, targets: Tensor, task: Task) -> float:
    """What early readers look at: accuracy, mean accuracy of the labels, or mean R2 of the targets.

    Shapes as of `loss`.
    """
    if task == "regression":
        return float(r2(outputs.double(), targets.double()).mean())
    if task == "multilabel":
        return float(((outputs > 0) == targets.bool()).double().mean())
    return float((outputs.argmax(dim=1) == targets).double().mean())


def r2(values: Tensor, targets: Tensor) -> Tensor:
    """The share of variance explained, of each target: (N, T) and (N, T) -> (T).

    Of a target that does not vary it is 1 if every value is right, and 0 otherwise.
    """
    total = (targets - targets.mean(dim=0)).square().sum(dim=0)
    residual = (targets - values).square().sum(dim=0)
    # The mean of equal numbers may round to another number, so a total may be more than it is.
    varies = (targets != targets[:1]).any(dim=0) & (total > 0)
    return torch.where(varies, 1 - residual / total, (residual == 0).to(total.dtype))
