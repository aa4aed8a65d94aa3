"""Score a model's outputs against targets, at once or in batches of rows.

Metrics have scikit-learn's definitions, in float64, and all rows have equal weight. A metric that
is undefined for the rows, such as the ROC-AUC of rows of a single class, is None and is left out of
means over classes (scikit-learn's `zero_division=nan`).

The rounding of a sum depends on the order of its terms. So the terms of each row are kept and
summed when all rows are there: the result has the same bits for any batches.

Shapes: N rows, B rows of a batch, C classes, L labels, T regression targets, Q quantiles of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BufferedIOBase, BytesIO
from typing import Any

import polars as pl
import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.config.metrics import PER_CLASS, PINBALL_LOSS, metric_names
from dropout_core.evaluation.calibration import Reliability, expected_calibration_error
from dropout_core.evaluation.column_file import ColumnFile
from dropout_core.evaluation.coverage import Coverage, reported
from dropout_core.model.conformal import Conformal
from dropout_core.model.predictor import Predictor
from dropout_core.nn.quantiles import medians
from dropout_core.training.class_scores import (
    mean_over_classes,
    scores_of_class,
    scores_of_classes,
)
from dropout_core.training.losses import pinball_loss
from dropout_core.training.validation import r2

MAX_LISTED = 200
"""More classes, labels or targets than this are not listed one by one."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on labelled rows.

    - `metrics`: by name, None where undefined. All of them, and all other fields but `num_rows`,
      are None if there are no rows or an output is not finite.
    - `confusion_matrix`: [true class][predicted class].
    - `per_class`: `class`, `num_rows`, `precision`, `recall`, `f1`, `roc_auc`, `average_precision`
      of each class against all others, or of each label.
    - `per_target`: `target`, `rmse`, `mae`, `r2`, also `pinball_loss` of quantiles, if a regression
      has several.
    - `reliability`: see `calibration.Reliability`. The decision of a row is its most probable
      class; with labels there are L decisions a row.
    - `conformal`: see `coverage.Coverage`; None for a model without conformal scores.
    """

    num_rows: int
    metrics: dict[str, float | None]
    confusion_matrix: list[list[int]] | None = None
    per_class: list[dict[str, Any]] | None = None
    per_target: list[dict[str, Any]] | None = None
    reliability: list[dict[str, Any]] | None = None
    conformal: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold, without `conformal` where it is None.

        Earlier releases had no such field, and a job that goes on ends with the metrics of theirs.
        """
        values = dict(vars(self))
        if self.conformal is None:
            del values["conformal"]
        return values


def evaluate(predictor: Predictor, frame: pl.DataFrame) -> Evaluation:
    """Score a predictor on the rows of a frame that have all targets; the others do not count.

    Raises DataError as `Predictor.encode` and `Description.labelled` do.
    """
    model = predictor.description
    rows, targets = model.labelled(frame)
    return score(
        predictor.outputs_of(rows),
        targets,
        task=model.task,
        names=model.output_names,
        quantiles=model.quantiles,
        conformal=reported(predictor),
    )


def score(
    outputs: Tensor,
    targets: Tensor,
    *,
    task: Task,
    names: Sequence[Any],
    quantiles: Sequence[float] | None = None,
    conformal: Sequence[Conformal] = (),
) -> Evaluation:
    """Score the outputs of all rows at once; see `Evaluator`."""
    evaluator = Evaluator(
        task, names=names, file=BytesIO(), quantiles=quantiles, conformal=conformal
    )
    evaluator.add(outputs, targets)
    return evaluator.evaluation()


class Evaluator:
    """Score batches of rows, which are kept in `file`; only a few columns are in memory at a time.

    `names` are the names of the outputs: the classes, the labels or the targets of the task.
    `quantiles` are the levels that a regression predicts of each target, in ascending order.
    `conformal` are the sets or intervals whose coverage is counted.

    - Classes: the most probable one is predicted, the first of equal ones. With two classes F1,
      ROC-AUC and average precision are those of the second; with more they are means over the
      classes, each against all others.
    - Labels: those with a probability above one half are predicted. All metrics are means over the
      labels except `subset_accuracy`, the share of rows whose labels are all right.
    - Regression: RMSE, MAE and R2 in the targets' own units; with several targets their means. Of
      quantiles, those next to the medians are scored so, and all together by the pinball loss.
    """

    def __init__(
        self,
        task: Task,
        *,
        names: Sequence[Any],
        file: BufferedIOBase,
        quantiles: Sequence[float] | None = None,
        conformal: Sequence[Conformal] = (),
    ) -> None:
        self._task = task
        self._names = names
        self._quantiles = quantiles
        self._num_rows = 0
        self._is_finite = True
        self._coverage = Coverage(task, conformal)
        columns = ColumnFile(file)
        self._scores: _ClassScores | _LabelScores | _ValueScores
        match task:
            case "regression":
                self._scores = _ValueScores(names, columns, quantiles)
            case "multilabel":
                self._scores = _LabelScores(names, columns)
            case _:
                self._scores = _ClassScores(names, columns)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch of rows. Raises ValueError if shapes do not fit, OSError as the file does.

        Shape: outputs (B, C), probabilities of the classes, and targets (B) of class indices;
        multilabel both (B, L), targets 0 or 1; regression both (B, T), or outputs (B, T * Q).
        """
        outputs, targets = outputs.double().cpu(), targets.cpu()
        self._check(outputs, targets)
        self._num_rows += len(outputs)
        self._is_finite = self._is_finite and bool(outputs.isfinite().all())
        if self._is_finite:
            self._scores.add(outputs, targets)
            self._coverage.add(outputs, targets)

    def evaluation(self) -> Evaluation:
        """Return the scores of all rows added so far."""
        if self._num_rows == 0 or not self._is_finite:
            names = metric_names(self._task, has_quantiles=self._quantiles is not None)
            return Evaluation(self._num_rows, dict.fromkeys(names))
        return replace(self._scores.evaluation(), conformal=self._coverage.scores())

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        num_rows, num_outputs = outputs.shape
        num_names = len(self._names)
        if num_outputs != num_names * len(self._quantiles or (0.5,)):
            raise ValueError(f"{num_outputs} outputs for {num_names} names")
        of_classes = self._task in ("binary", "multiclass")
        expected = (num_rows,) if of_classes else (num_rows, num_names)
        if targets.shape != expected:
            raise ValueError(f"targets have shape {tuple(targets.shape)}, but {expected} is due")


class _ClassScores:
    """Columns: the probabilities of the C classes, then the target and the terms of a row."""

    def __init__(self, classes: Sequence[Any], columns: ColumnFile) -> None:
        self._classes = classes
        self._columns = columns
        self._reliability = Reliability()

    def add(self, probabilities: Tensor, targets: Tensor) -> None:
        confidence, predicted = probabilities.max(dim=1)
        self._reliability.add(confidence, predicted == targets)
        of_target = targets[:, None]
        error = probabilities.scatter_add(1, of_target, torch.full_like(of_target, -1).double())
        log_loss = _log_loss(probabilities.gather(1, of_target)[:, 0])
        of_rows = [targets, predicted, log_loss, error.square().sum(dim=1)]
        self._columns.append(torch.cat([probabilities.T, torch.stack(of_rows)]))

    def evaluation(self) -> Evaluation:
        num_classes, column = len(self._classes), self._columns.column
        targets, predicted = (column(num_classes + index).long() for index in range(2))
        log_loss, brier = (float(column(num_classes + index).mean()) for index in (2, 3))
        of_classes, of_all = scores_of_classes(column, predicted, targets, names=self._classes)
        bins = self._reliability.bins()
        return Evaluation(
            num_rows=len(targets),
            metrics={
                "accuracy": float((predicted == targets).double().mean()),
                **of_all,
                "log_loss": log_loss,
                "brier": brier / 2 if num_classes == 2 else brier,
                "expected_calibration_error": expected_calibration_error(bins),
            },
            confusion_matrix=_confusion(targets, predicted, num_classes),
            per_class=_listed(of_classes),
            reliability=bins,
        )


class _LabelScores:
    """Columns: the probabilities of the L labels, their targets, then the terms of a row."""

    def __init__(self, labels: Sequence[Any], columns: ColumnFile) -> None:
        self._labels = labels
        self._columns = columns
        self._reliability = Reliability()

    def add(self, probabilities: Tensor, targets: Tensor) -> None:
        targets = targets.bool()
        predicted = probabilities > 0.5
        correct = predicted == targets
        confidence = torch.where(predicted, probabilities, 1 - probabilities)
        self._reliability.add(confidence.flatten(), correct.flatten())
        of_truth = torch.where(targets, probabilities, 1 - probabilities)
        error = (probabilities - targets.double()).square()
        of_rows = [correct.sum(dim=1), _log_loss(of_truth).mean(dim=1), error.mean(dim=1)]
        self._columns.append(torch.cat([probabilities.T, targets.T, torch.stack(of_rows)]))

    def evaluation(self) -> Evaluation:
        num_labels, column = len(self._labels), self._columns.column
        num_right, log_loss, error = (column(2 * num_labels + index) for index in range(3))
        of_labels = [self._scores_of(index) for index in range(num_labels)]
        bins = self._reliability.bins()
        return Evaluation(
            num_rows=len(num_right),
            metrics={
                "accuracy": float(num_right.sum()) / (len(num_right) * num_labels),
                "subset_accuracy": float((num_right == num_labels).double().mean()),
                **{key: mean_over_classes(of_labels, key) for key in PER_CLASS},
                "log_loss": float(log_loss.mean()),
                "brier": float(error.mean()),
                "expected_calibration_error": expected_calibration_error(bins),
            },
            per_class=_listed(of_labels),
            reliability=bins,
        )

    def _scores_of(self, index: int) -> dict[str, Any]:
        probabilities = self._columns.column(index)
        true = self._columns.column(len(self._labels) + index).bool()
        return scores_of_class(
            self._labels[index], probabilities, predicted=probabilities > 0.5, true=true
        )


class _ValueScores:
    """Columns: the values of the T targets, and the targets, then the pinball losses of each."""

    def __init__(
        self, names: Sequence[Any], columns: ColumnFile, quantiles: Sequence[float] | None
    ) -> None:
        self._names = names
        self._columns = columns
        self._quantiles = quantiles

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        targets = targets.double()
        if self._quantiles is None:
            self._columns.append(torch.cat([outputs.T, targets.T]))
            return
        levels = torch.tensor(self._quantiles, dtype=torch.float64)
        losses = pinball_loss(outputs, targets, levels=levels, reduction="none")
        of_targets = losses.view(len(losses), len(self._names), len(levels)).mean(dim=2)
        values = medians(outputs, self._quantiles)
        self._columns.append(torch.cat([values.T, targets.T, of_targets.T]))

    def evaluation(self) -> Evaluation:
        of_each = [self._scores_of(index) for index in range(len(self._names))]
        of_targets = [
            {"target": name} | {key: _finite(score) for key, score in scores.items()}
            for name, scores in zip(self._names, of_each, strict=True)
        ]
        return Evaluation(
            num_rows=self._columns.num_rows,
            metrics={
                key: _finite(torch.stack([scores[key] for scores in of_each]).mean())
                for key in metric_names("regression", has_quantiles=self._quantiles is not None)
            },
            per_target=_listed(of_targets) if len(of_targets) > 1 else None,
        )

    def _scores_of(self, index: int) -> dict[str, Tensor]:
        values = self._columns.column(index)
        targets = self._columns.column(len(self._names) + index)
        error = values - targets
        # A single row has no variance to explain.
        explained = r2(values, targets) if len(targets) > 1 else torch.tensor(math.nan).double()
        scores = {
            "rmse": error.square().mean().sqrt(),
            "mae": error.abs().mean(),
            "r2": explained,
        }
        if self._quantiles is not None:
            scores[PINBALL_LOSS] = self._columns.column(2 * len(self._names) + index).mean()
        return scores


def _listed(entries: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return entries if len(entries) <= MAX_LISTED else None


def _confusion(targets: Tensor, predicted: Tensor, num_classes: int) -> list[list[int]] | None:
    if num_classes > MAX_LISTED:
        return None
    pairs = torch.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    matrix: list[list[int]] = pairs.view(num_classes, num_classes).tolist()
    return matrix


def _log_loss(of_truth: Tensor) -> Tensor:
    """Return the log loss, in nats, of the probabilities of the true classes.

    A probability of 0 would make it infinite, which JSON cannot hold, so it is clamped to the same
    bounds as in scikit-learn.
    """
    epsilon = torch.finfo(torch.float64).eps
    return -of_truth.clamp(epsilon, 1 - epsilon).log()


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
