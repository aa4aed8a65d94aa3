"""Early stopping: what it watches, and when it stops.

Shapes: N rows, C outputs.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dropout_core.config import EarlyStoppingConfig, Task
from dropout_core.training.losses import Loss
from dropout_core.training.validation import monitored_metric

_LESS_IS_BETTER = (None, "loss", "validation_loss", "mae")


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
        self._reference = math.inf  # of the last epoch that counted as an improvement
        self._epochs_since_improved = 0

    def value(
        self, outputs: Tensor, targets: Tensor, *, weights: Tensor | None, plain_loss: float
    ) -> float | None:
        """Return the value to watch on the validation rows; None where it is undefined.

        Shapes: outputs (N, C), targets as in `validate`, weights of rows (N).
        """
        match self._config.monitor:
            case "loss" | None:
                return float(self._loss(outputs, targets, *([] if weights is None else [weights])))
            case "validation_loss":
                return plain_loss
            case metric:
                return monitored_metric(
                    outputs, targets, task=self._task, monitor=metric, quantiles=self._quantiles
                )

    def watch(self, value: float | None) -> bool:
        """Count an epoch with this value, and return whether it is the best so far."""
        loss = math.inf if value is None else value
        if value is not None and self._config.monitor not in _LESS_IS_BETTER:
            loss = -value
        ties = value is not None and self._config.ties == "last" and loss == self._best
        is_best = loss < self._best or ties
        if is_best:
            self._best = loss
        if loss < self._reference - self._config.min_delta:
            self._reference = loss
            self._epochs_since_improved = 0
        else:
            self._epochs_since_improved += 1
        return is_best

    @property
    def is_over(self) -> bool:
        return self._epochs_since_improved >= self._config.patience

    def state(self) -> dict[str, Any]:
        """Return JSON values for `restore`."""
        return {
            "best_loss": self._best if math.isfinite(self._best) else None,
            "reference_loss": self._reference if math.isfinite(self._reference) else None,
            "epochs_since_improved": self._epochs_since_improved,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`. The checkpoints of release 0.1 have one loss for both."""
        best = state["best_loss"]
        reference = state.get("reference_loss", best)
        self._best = math.inf if best is None else best
        self._reference = math.inf if reference is None else reference
        self._epochs_since_improved = state["epochs_since_improved"]
