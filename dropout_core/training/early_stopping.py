"""Early stopping: what it watches, and when it stops.

Shapes: N rows, C outputs.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dropout_core.config import EarlyStoppingConfig, Task
from dropout_core.training.losses import Loss
from dropout_core.training.validation import monitored_metric, validate

_LESS_IS_BETTER = (None, "loss", "validation_loss", "mae")
_NUM_PARTS = 10  # of the validation rows: how they differ tells how much chance is in their mean

Parts = list[float | None]
"""The value on each part of the validation rows, None where it is undefined or not finite."""


class EarlyStopping:
    """Watch one value an epoch. `loss` is the loss of training: outputs, targets[, weights] -> ().

    Values are kept as losses: a metric, of which more is better, as its negative.
    """

    def __init__(
        self,
        config: EarlyStoppingConfig,
        *,
        task: Task,
        loss: Loss,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        self._config = config
        self._task = task
        self._loss = loss
        self._quantiles = quantiles
        self._best = math.inf
        self._best_parts: Parts = []
        self._parts: Parts = []  # of the value last computed; empty without a tolerance
        self._reference = math.inf  # of the last epoch that counted as an improvement
        self._epochs_since_improved = 0

    def value(
        self, outputs: Tensor, targets: Tensor, *, weights: Tensor | None, plain_loss: float
    ) -> float | None:
        """Return the value to watch on the validation rows; None where it is undefined.

        Shapes: outputs (N, C), targets as in `validate`, weights of rows (N).
        """
        monitor = self._config.monitor
        value = plain_loss if monitor == "validation_loss" else self._on(outputs, targets, weights)
        if self._config.tolerance > 0:
            self._parts = self._on_parts(outputs, targets, weights)
        return value

    def watch(self, value: float | None) -> bool:
        """Count an epoch with this value, and return whether the model may get its weights."""
        config, loss = self._config, self._as_loss(value)
        is_best = loss < self._best
        if is_best:
            self._best, self._best_parts = loss, self._parts
        if config.tolerance > 0:
            error = _error_of_difference(self._parts, self._best_parts)
            is_kept = loss - self._best <= config.tolerance * error
            has_improved = is_kept
        else:
            is_kept = is_best or (config.ties == "last" and loss == self._best)
            has_improved = loss < self._reference - config.min_delta
        if has_improved:
            self._reference = loss
        self._epochs_since_improved = 0 if has_improved else self._epochs_since_improved + 1
        return is_kept and value is not None

    def _as_loss(self, value: float | None) -> float:
        if value is None:
            return math.inf
        return value if self._config.monitor in _LESS_IS_BETTER else -value

    def _on(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> float | None:
        """Return the value on some of the rows; None where it is undefined."""
        match self._config.monitor:
            case "loss" | None:
                return float(self._loss(outputs, targets, *([] if weights is None else [weights])))
            case "validation_loss":
                loss, _ = validate(outputs, targets, task=self._task, quantiles=self._quantiles)
                return loss
            case metric:
                return monitored_metric(
                    outputs, targets, task=self._task, monitor=metric, quantiles=self._quantiles
                )

    def _on_parts(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Parts:
        """Return the value on interleaved parts of the rows."""
        parts: Parts = []
        for start in range(min(_NUM_PARTS, len(targets))):
            rows = slice(start, None, _NUM_PARTS)
            of_rows = None if weights is None else weights[rows]
            value = self._on(outputs[rows], targets[rows], of_rows)
            # The loss of a part may overflow where that of all rows, a tenth of it, does not.
            parts.append(value if value is not None and math.isfinite(value) else None)
        return parts

    @property
    def is_over(self) -> bool:
        return self._epochs_since_improved >= self._config.patience

    def state(self) -> dict[str, Any]:
        """Return JSON values for `restore`."""
        return {
            "best_loss": self._best if math.isfinite(self._best) else None,
            "best_parts": self._best_parts,
            "reference_loss": self._reference if math.isfinite(self._reference) else None,
            "epochs_since_improved": self._epochs_since_improved,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`. The checkpoints of release 0.1 have one loss for both."""
        best = state["best_loss"]
        reference = state.get("reference_loss", best)
        self._best = math.inf if best is None else best
        self._best_parts = state.get("best_parts", [])
        self._reference = math.inf if reference is None else reference
        self._epochs_since_improved = state["epochs_since_improved"]


def _error_of_difference(parts: Parts, others: Parts) -> float:
    """Estimate the standard error of the difference between two epochs' values.

    The parts are the same rows in both epochs, so what makes a part hard cancels out. The estimate
    serves any metric (the method of batch means); it is 0 if fewer than two parts have values.
    """
    pairs = zip(parts, others, strict=False)
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    if len(differences) < 2:
        return 0.0
    return statistics.stdev(differences) / math.sqrt(len(differences))
