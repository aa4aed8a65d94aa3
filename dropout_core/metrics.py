"""What a task is trained and scored by.

Metrics have scikit-learn's definitions, in float64, and every row counts the same. One that is
undefined for the rows at hand, such as the area under the ROC curve where they are all of one
class, is None and is left out of means over classes (scikit-learn's `zero_division=nan`).

Shapes: N rows, C classes, L labels, T regression targets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.calibration import expected_calibration_error, reliability
from dropout_core.config import Task
from dropout_core.one_vs_rest import mean_over_classes, scores_of_class

MAX_LISTED = 200
"""With more classes, labels or targets than this they are not listed one by one."""

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
        return float(_r2(outputs.double(), targets.double()).mean())
    if task == "multilabel":
        return float(((outputs > 0) == targets.bool()).double().mean())
    return float((outputs.argmax(dim=1) == targets).double().mean())


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on labelled rows.

    - `metrics`: by name, None where undefined. All are None, and the rest is too, if there are no
      rows or an output is not finite.
    - `confusion_matrix`: [true class][predicted class].
    - `per_class`: `class`, `num_rows`, `precision`, `recall`, `f1`, `roc_auc`, `average_precision`
      of each class against all others, or of each label.
    - `per_target`: `target`, `rmse`, `mae`, `r2`, if a regression has several.
    - `reliability`: see `calibration.reliability`. A decision is a row's most probable class; for
      labels there are L decisions a row.
    """

    num_rows: int
    metrics: dict[str, float | None]
    confusion_matrix: list[list[int]] | None = None
    per_class: list[dict[str, Any]] | None = None
    per_target: list[dict[str, Any]] | None = None
    reliability: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def evaluate_classification(
    probabilities: Tensor, targets: Tensor, *, classes: Sequence[Any]
) -> Evaluation:
    """Score class probabilities (N, C) against class indices (N).

    The most probable class is the predicted one, the first of several. With two classes F1, ROC-AUC
    and average precision are those of the second; with more they are means over the classes, each
    against all others. Raises ValueError if shapes do not fit.
    """
    probabilities, targets = probabilities.double().cpu(), targets.cpu()
    num_rows, num_classes = _check(probabilities, targets, classes, "classes")
    if not _can_be_scored(probabilities):
        return _undefined(num_rows, _OF_CLASSES)
    confidence, predicted = probabilities.max(dim=1)
    correct = predicted == targets
    of_classes = [
        scores_of_class(name, column, predicted=predicted == index, true=targets == index)
        for index, (name, column) in enumerate(
            zip(classes, probabilities.T.contiguous(), strict=True)
        )
    ]
    headline = of_classes[1:] if num_classes == 2 else of_classes
    bins = reliability(confidence, correct)
    of_target = targets[:, None]
    error = probabilities.scatter_add(1, of_target, torch.full_like(of_target, -1).double())
    brier = error.square().sum(dim=1).mean()
    return Evaluation(
        num_rows=num_rows,
        metrics={
            "accuracy": float(correct.double().mean()),
            "balanced_accuracy": mean_over_classes(of_classes, "recall"),
            "f1": mean_over_classes(headline, "f1"),
            "roc_auc": mean_over_classes(headline, "roc_auc"),
            "average_precision": mean_over_classes(headline, "average_precision"),
            "log_loss": float(_surprise(probabilities.gather(1, of_target)).mean()),
            "brier": float(brier / 2 if num_classes == 2 else brier),
            "expected_calibration_error": expected_calibration_error(bins),
        },
        confusion_matrix=_confusion(targets, predicted, num_classes),
        per_class=_listed(of_classes),
        reliability=bins,
    )


def evaluate_multilabel(
    probabilities: Tensor, targets: Tensor, *, labels: Sequence[str]
) -> Evaluation:
    """Score label probabilities (N, L) against targets (N, L) of 0 and 1.

    A label is predicted above a probability of one half. All metrics are means over the labels but
    `subset_accuracy`, the share of rows with every label right. Raises ValueError if shapes
    do not fit.
    """
    probabilities, targets = probabilities.double().cpu(), targets.bool().cpu()
    num_rows, _ = _check(probabilities, targets, labels, "labels")
    if not _can_be_scored(probabilities):
        return _undefined(num_rows, _OF_LABELS)
    predicted = probabilities > 0.5
    correct = predicted == targets
    of_labels = [
        scores_of_class(name, column, predicted=predicted[:, index], true=targets[:, index])
        for index, (name, column) in enumerate(
            zip(labels, probabilities.T.contiguous(), strict=True)
        )
    ]
    confidence = torch.where(predicted, probabilities, 1 - probabilities)
    bins = reliability(confidence.flatten(), correct.flatten())
    of_truth = torch.where(targets, probabilities, 1 - probabilities)
    return Evaluation(
        num_rows=num_rows,
        metrics={
            "accuracy": float(correct.double().mean()),
            "subset_accuracy": float(correct.all(dim=1).double().mean()),
            "f1": mean_over_classes(of_labels, "f1"),
            "roc_auc": mean_over_classes(of_labels, "roc_auc"),
            "average_precision": mean_over_classes(of_labels, "average_precision"),
            "log_loss": float(_surprise(of_truth).mean()),
            "brier": float((probabilities - targets.double()).square().mean()),
            "expected_calibration_error": expected_calibration_error(bins),
        },
        per_class=_listed(of_labels),
        reliability=bins,
    )


def evaluate_regression(values: Tensor, targets: Tensor, *, names: Sequence[str]) -> Evaluation:
    """RMSE, MAE and R2 of values (N, T) against targets (N, T), in the targets' own units.

    Of several targets they are means over the targets. Raises ValueError if shapes do not fit.
    """
    values, targets = values.double().cpu(), targets.double().cpu()
    num_rows, num_targets = _check(values, targets, names, "targets")
    if not _can_be_scored(values):
        return _undefined(num_rows, _OF_VALUES)
    error = values - targets
    scores = {
        "rmse": error.square().mean(dim=0).sqrt(),
        "mae": error.abs().mean(dim=0),
        # One row alone has no variance that could be explained.
        "r2": _r2(values, targets) if num_rows > 1 else torch.full((num_targets,), math.nan),
    }
    of_targets = [
        {"target": name} | {key: _finite(score[index]) for key, score in scores.items()}
        for index, name in enumerate(names)
    ]
    return Evaluation(
        num_rows=num_rows,
        metrics={key: _finite(score.mean()) for key, score in scores.items()},
        per_target=_listed(of_targets) if num_targets > 1 else None,
    )


def _check(outputs: Tensor, targets: Tensor, names: Sequence[Any], what: str) -> tuple[int, int]:
    num_rows, num_outputs = outputs.shape
    if num_outputs != len(names):
        raise ValueError(f"{num_outputs} outputs for {len(names)} {what}")
    expected = (num_rows,) if what == "classes" else (num_rows, num_outputs)
    if targets.shape != expected:
        raise ValueError(f"targets of shape {tuple(targets.shape)} are not of {expected}")
    return num_rows, num_outputs


def _can_be_scored(outputs: Tensor) -> bool:
    return len(outputs) > 0 and bool(outputs.isfinite().all())


def _undefined(num_rows: int, names: tuple[str, ...]) -> Evaluation:
    return Evaluation(num_rows, dict.fromkeys(names))


def _listed(entries: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return entries if len(entries) <= MAX_LISTED else None


def _confusion(targets: Tensor, predicted: Tensor, num_classes: int) -> list[list[int]] | None:
    if num_classes > MAX_LISTED:
        return None
    pairs = torch.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    matrix: list[list[int]] = pairs.view(num_classes, num_classes).tolist()
    return matrix


def _surprise(of_truth: Tensor) -> Tensor:
    """The log loss of probabilities of what is true, in nats.

    A probability of zero would make it infinite, which JSON cannot say; scikit-learn's bounds.
    """
    epsilon = torch.finfo(torch.float64).eps
    return -of_truth.clamp(epsilon, 1 - epsilon).log()


def _r2(values: Tensor, targets: Tensor) -> Tensor:
    """The share of variance explained, of each target: (N, T) and (N, T) -> (T).

    Of a target that does not vary it is 1 if every value is right, and 0 otherwise.
    """
    total = (targets - targets.mean(dim=0)).square().sum(dim=0)
    residual = (targets - values).square().sum(dim=0)
    # The mean of equal numbers may round to another number, so a total may be more than it is.
    varies = (targets != targets[:1]).any(dim=0) & (total > 0)
    return torch.where(varies, 1 - residual / total, (residual == 0).to(total.dtype))


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
