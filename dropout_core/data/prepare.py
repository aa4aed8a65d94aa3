"""A frame and the names of its features and target -> tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.data.errors import DataError
from dropout_core.data.schema import Column

MAX_INTEGER_CLASSES = 50
MAX_CLASSES = 10_000

Classes = tuple[bool | int | float | str, ...]


def infer_task(target: Column, *, integral: bool) -> Task:
    """Words, booleans and a few whole numbers are classes; other numbers are a regression."""
    whole_classes = integral and target.num_distinct <= MAX_INTEGER_CLASSES
    if target.type == "numeric" and not whole_classes:
        return "regression"
    return "binary" if target.num_distinct == 2 else "multiclass"


def feature_tensor(frame: pl.DataFrame, features: Sequence[str]) -> Tensor:
    """The columns `features`, in that order: (N, F) float64. DataError if one is unusable."""
    for name in features:
        _check_column(frame, name, field="features")
        if not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
            raise DataError("a feature has to be numeric", column=name, field="features")
    matrix = frame.select(pl.col(features).cast(pl.Float64)).to_numpy(order="c")
    return torch.from_numpy(np.array(matrix))


def find_classes(frame: pl.DataFrame, target: str) -> Classes:
    """The distinct values of the target, sorted. Raises DataError unless there are at least two."""
    _check_column(frame, target, field="target")
    classes: Classes = tuple(frame[target].unique().sort().to_list())
    if len(classes) < 2:
        raise DataError("the target has a single class", column=target, field="target")
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{len(classes)} classes, {MAX_CLASSES} are allowed", column=target, field="target"
        )
    return classes


def class_tensor(frame: pl.DataFrame, target: str, classes: Classes) -> Tensor:
    """Each row's index in `classes`: (N) int64. Raises DataError for a value that is no class."""
    _check_column(frame, target, field="target")
    index_of: dict[Any, int] = {value: index for index, value in enumerate(classes)}
    values = frame[target].to_list()
    indices = [index_of.get(value, -1) for value in values]
    if -1 in indices:
        row = indices.index(-1)
        raise DataError(
            f"{values[row]!r} is none of the {len(classes)} classes", row=row + 1, column=target
        )
    return torch.tensor(indices)


def value_tensor(frame: pl.DataFrame, target: str) -> Tensor:
    """The target of a regression: (N) float64. Raises DataError unless it is numeric."""
    _check_column(frame, target, field="target")
    if not frame[target].dtype.is_numeric():
        raise DataError(
            "the target of a regression has to be numeric", column=target, field="target"
        )
    return torch.from_numpy(np.array(frame[target].cast(pl.Float64).to_numpy()))


def _check_column(frame: pl.DataFrame, name: str, *, field: str) -> None:
    if name not in frame.columns:
        raise DataError("the data has no such column", column=name, field=field)
    if frame[name].null_count():
        row = int(frame[name].is_null().arg_max() or 0)
        raise DataError("a value is missing", row=row + 1, column=name, field=field)
