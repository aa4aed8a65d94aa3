"""The tensors to train on, and the check that they fit the model and the task.

Shapes: N rows, F features, C outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.config import Task, TrainingConfig
from dropout_core.errors import require_type
from dropout_core.nn.members import AVERAGES
from dropout_core.nn.mlp import MLP

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class TrainingData:
    """Tensors in memory: features (N, F) float32; targets (N) of classes or (N, C) float32.

    `train_weights` (N) weigh the training rows in the loss, `validation_weights` (N) the rows of
    the loss that early stopping watches; the validation loss itself has equal weights.
    """

    train_features: Tensor
    train_targets: Tensor
    validation_features: Tensor | None = None
    validation_targets: Tensor | None = None
    train_weights: Tensor | None = None
    validation_weights: Tensor | None = None

    def to(self, device: torch.device) -> "TrainingData":
        given = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return TrainingData(**{name: tensor.to(device) for name, tensor in given.items()})


def check_arguments(model: MLP, data: TrainingData, config: TrainingConfig, *, task: Task) -> None:
    """Raise TypeError or ValueError, naming the argument that does not fit the others."""
    hint = "build one with MLP(MLPConfig(...), in_features=..., out_features=...)"
    require_type(model, MLP, name="model", hint=hint)
    require_type(data, TrainingData, name="data", hint="give TrainingData(features, targets)")
    parts = {"train": (data.train_features, data.train_targets)}
    if data.validation_features is not None or data.validation_targets is not None:
        if data.validation_features is None or data.validation_targets is None:
            raise ValueError("give validation_features and validation_targets, or neither")
        if len(data.validation_features) == 0:
            raise ValueError("validation_features has no rows: give None instead")
        parts["validation"] = (data.validation_features, data.validation_targets)
    if len(data.train_features) == 0:
        raise ValueError("0 rows are too few to train on")
    if task == "binary" and model.out_features != 2:
        raise ValueError(
            "a binary task needs an MLP with out_features=2, one output for each class, "
            f"but this one has {model.out_features}"
        )
    if model.average is not None and model.average.average != AVERAGES[task]:
        raise ValueError(
            f"the members of a {task} task need an MLP with average={AVERAGES[task]!r}, "
            f"but this one has {model.average.average!r}"
        )
    dtype = next(model.parameters()).dtype
    for part, (features, targets) in parts.items():
        _check_features(f"{part}_features", features, model.in_features, dtype)
        name = f"{part}_targets"
        require_type(targets, Tensor, name=name, hint="convert it with torch.as_tensor")
        if len(targets) != len(features):
            raise ValueError(f"{name} has {len(targets)} rows, {part}_features {len(features)}")
        if task in ("binary", "multiclass"):
            _check_classes(name, targets, model.out_features)
        else:
            _check_values(name, targets, model.out_features, dtype, config.quantiles)
        _check_weights(f"{part}_weights", getattr(data, f"{part}_weights"), len(features))


def _check_features(name: str, features: Tensor, num_features: int, dtype: torch.dtype) -> None:
    require_type(features, Tensor, name=name, hint="convert it with torch.as_tensor")
    _check_dtype(name, features, dtype)
    if features.dim() != 2 or features.shape[1] != num_features:
        raise ValueError(
            f"{name} has the shape {tuple(features.shape)}, "
            f"but the MLP takes (rows, in_features={num_features})"
        )


def _check_classes(name: str, targets: Tensor, num_classes: int) -> None:
    if targets.dtype != torch.int64:
        advice = "call .long()" if targets.dtype in _INTEGERS else "give the index of each class"
        raise TypeError(f"{name} has to be int64, not {targets.dtype}: {advice}")
    if targets.dim() != 1:
        raise ValueError(f"{name} has the shape {tuple(targets.shape)}, but (rows,) is needed")
    if len(targets) and not 0 <= targets.min() <= targets.max() < num_classes:
        raise ValueError(
            f"{name} has classes from {int(targets.min())} to {int(targets.max())}, "
            f"but the MLP has out_features={num_classes}"
        )


def _check_values(
    name: str,
    targets: Tensor,
    num_outputs: int,
    dtype: torch.dtype,
    quantiles: Sequence[float] | None,
) -> None:
    _check_dtype(name, targets, dtype)
    num_targets, rest = divmod(num_outputs, len(quantiles or [None]))
    if rest or targets.shape[1:] != (num_targets,):
        of_each = f", {len(quantiles)} quantiles of each target" if quantiles else ""
        raise ValueError(
            f"{name} has the shape {tuple(targets.shape)}, "
            f"but the MLP gives (rows, out_features={num_outputs}){of_each}"
        )


def _check_weights(name: str, weights: Tensor | None, num_rows: int) -> None:
    if weights is not None and weights.shape != (num_rows,):
        raise ValueError(
            f"{name} has the shape {tuple(weights.shape)}, but ({num_rows},) is needed"
        )


def _check_dtype(name: str, values: Tensor, dtype: torch.dtype) -> None:
    """Raise TypeError unless the values have the dtype of the model's weights."""
    if values.dtype != dtype:
        raise TypeError(f"{name} has to be {dtype} as the MLP is, not {values.dtype}")
