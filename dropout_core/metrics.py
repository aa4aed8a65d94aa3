"""What a task is scored by."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import Task


def loss(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The mean loss of a task: cross-entropy of logits, or squared error.

    Shape: outputs (N, C) and targets (N) of class indices; for regression both (N, 1). -> ()
    """
    if task == "regression":
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets)


def score(outputs: Tensor, targets: Tensor, task: Task) -> float:
    """What early readers look at: accuracy of a classification, R2 of a regression."""
    if task == "regression":
        return _r2(outputs.double(), targets.double())
    return float((outputs.argmax(dim=1) == targets).double().mean())


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on labelled rows; the confusion matrix is [true class][predicted class]."""

    num_rows: int
    metrics: dict[str, float]
    confusion_matrix: list[list[int]] | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "num_rows": self.num_rows,
            "metrics": self.metrics,
            "confusion_matrix": self.confusion_matrix,
        }


def evaluate_classification(probabilities: Tensor, targets: Tensor) -> Evaluation:
    """Accuracy, log loss and confusion matrix. Shapes: (N, C) and (N) -> Evaluation."""
    num_rows, num_classes = probabilities.shape
    predicted = probabilities.argmax(dim=1)
    true_class = probabilities.double().gather(1, targets[:, None])
    # A float32 probability of zero would make the log loss infinite, which JSON cannot say.
    smallest = torch.finfo(torch.float32).tiny
    confusion = torch.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return Evaluation(
        num_rows=num_rows,
        metrics={
            "accuracy": float((predicted == targets).double().mean()),
            "log_loss": float(-true_class.clamp_min(smallest).log().mean()),
        },
        confusion_matrix=confusion.view(num_classes, num_classes).tolist(),
    )


def evaluate_regression(values: Tensor, targets: Tensor) -> Evaluation:
    """RMSE, MAE and R2 in the target's own units. Shapes: (N) and (N) -> Evaluation."""
    error = values - targets
    return Evaluation(
        num_rows=len(targets),
        metrics={
            "rmse": float(error.square().mean().sqrt()),
            "mae": float(error.abs().mean()),
            "r2": _r2(values, targets),
        },
        confusion_matrix=None,
    )


def _r2(values: Tensor, targets: Tensor) -> float:
    """The share of variance explained; 0 where the targets do not vary."""
    total = (targets - targets.mean()).square().sum()
    residual = (targets - values).square().sum()
    return float(1.0 - residual / total) if total > 0 else 0.0
