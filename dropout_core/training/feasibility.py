"""Checks whether a config can be trained, made before a job is stored and by `Training`."""

from typing import Any

from dropout_core.config import (
    CosineConfig,
    MLPConfig,
    Monitor,
    PreprocessingConfig,
    Task,
    TrainingConfig,
)

_WITHOUT_CLASSES: dict[Task, str] = {
    "regression": "a regression has no classes",
    "multilabel": "a multilabel task has no classes: its labels are independent of each other",
}


_MAX_FLOAT32 = 3.4e38
_OF_64_BITS = {"max_runtime_seconds", "early_stopping"}

METRICS_OF: dict[Task, tuple[Monitor, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision"),
    "multilabel": ("accuracy",),
    "regression": ("r2", "mae"),
}
"""The metrics that early stopping can monitor, besides the two losses."""


class InfeasibleError(ValueError):
    """The config asks for what the task, the data or the network does not allow.

    `field` is the path of the setting at fault, such as ("training", "early_stopping").
    """

    def __init__(self, field: tuple[str, ...], message: str) -> None:
        super().__init__(field, message)  # both, so that it can be pickled
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return self.message


def check_feasible(
    model: MLPConfig,
    training: TrainingConfig,
    *,
    task: Task,
    num_rows: int,
    num_outputs: int,
    has_validation: bool,
) -> None:
    """Raise InfeasibleError unless `model` can be trained as `training` says.

    `num_rows` counts the rows to train on; `has_validation` says whether others are held out.
    """
    _check_range(("model",), model.model_dump())
    _check_range(("training",), training.model_dump(exclude=_OF_64_BITS))
    check_loss(training, task=task, num_outputs=num_outputs)
    if training.precision == "bfloat16" and not model.allows_bfloat16:
        raise InfeasibleError(
            ("training", "precision"),
            "bfloat16 is for relu, tanh and logistic layers with bernoulli dropout, no batch norm, "
            "no members and no parametric activation",
        )
    _check_schedules(model, training)
    if training.calibrate and not has_validation:
        raise InfeasibleError(
            ("training", "calibrate"), "calibration needs validation rows: split some off"
        )
    if training.early_stopping is not None and not has_validation:
        raise InfeasibleError(
            ("training", "early_stopping"), "early stopping needs validation rows: split some off"
        )
    if training.early_stopping is not None:
        _check_monitor(training.early_stopping.monitor, task)
    batch_rows = min(num_rows, training.batch_size)
    if model.batch_norm and batch_rows < 2:
        raise InfeasibleError(
            ("model", "batch_norm"),
            f"batch norm needs batches of at least 2 rows, but the largest here has {batch_rows}",
        )


def _check_schedules(model: MLPConfig, training: TrainingConfig) -> None:
    dropouts = (model.input_dropout, *model.hidden_dropout)
    if training.dropout_schedule is not None and any(d.scaling == "classic" for d in dropouts):
        raise InfeasibleError(
            ("training", "dropout_schedule"),
            "a network with `classic` dropout expects the same probability at inference: "
            "use `inverted` dropout, or leave the schedule out",
        )
    schedule = training.scheduler
    if training.layer_rates == "ntk" and isinstance(schedule, CosineConfig) and schedule.min_lr > 0:
        raise InfeasibleError(
            ("training", "scheduler", "min_lr"),
            "a `min_lr` above 0 is the same for all layers: set it to 0 with `ntk` rates",
        )


def check_preprocessing(config: PreprocessingConfig, *, num_numbers: int) -> None:
    """Raise InfeasibleError if numbers are to be embedded and the features have none.

    `num_numbers` counts the numbers and the parts of dates.
    """
    if config.number_embedding is not None and num_numbers == 0:
        raise InfeasibleError(
            ("preprocessing", "number_embedding"), "the table has no numbers to embed"
        )


def _check_range(field: tuple[str, ...], value: Any) -> None:
    """Raise InfeasibleError for a number beyond 32 bits, which a network cannot hold."""
    if isinstance(value, float) and value > _MAX_FLOAT32:
        raise InfeasibleError(field, f"{value:g} is more than {_MAX_FLOAT32:g}, the largest number")
    if isinstance(value, dict):
        for name, entry in value.items():
            _check_range((*field, name), entry)
    elif isinstance(value, tuple | list):
        for index, entry in enumerate(value):
            _check_range((*field, str(index)), entry)


def _check_monitor(monitor: Monitor | None, task: Task) -> None:
    metrics = METRICS_OF[task]
    if monitor not in (None, "loss", "validation_loss", *metrics):
        raise InfeasibleError(
            ("training", "early_stopping", "monitor"),
            f"a {task} task can monitor loss, validation_loss, {', '.join(metrics)}",
        )


def check_loss(training: TrainingConfig, *, task: Task, num_outputs: int) -> None:
    """Raise InfeasibleError if the loss, or what shapes it, does not fit the task."""
    _check_regression_loss(training, task)
    weights = training.class_weights
    if task in _WITHOUT_CLASSES and weights is not None:
        raise InfeasibleError(("training", "class_weights"), _WITHOUT_CLASSES[task])
    if task in _WITHOUT_CLASSES and training.label_smoothing > 0.0:
        raise InfeasibleError(("training", "label_smoothing"), _WITHOUT_CLASSES[task])
    if isinstance(weights, tuple) and len(weights) != num_outputs:
        raise InfeasibleError(
            ("training", "class_weights"), f"{len(weights)} weights for {num_outputs} classes"
        )
    if isinstance(weights, tuple) and not any(weights):
        raise InfeasibleError(
            ("training", "class_weights"), "all weights are 0, so nothing would be learned"
        )


def _check_regression_loss(training: TrainingConfig, task: Task) -> None:
    if training.loss != "squared" and task != "regression":
        raise InfeasibleError(
            ("training", "loss"), f"a {task} task has the cross-entropy as its loss"
        )
    if training.quantiles is not None and task != "regression":
        raise InfeasibleError(
            ("training", "quantiles"), f"quantiles are for a regression, and the task is {task}"
        )
    if training.quantiles is not None and training.loss != "squared":
        raise InfeasibleError(
            ("training", "loss"), "quantiles have the pinball loss: leave `loss` out"
        )
