"""A frame and the names of its features and target -> tensors. Raises DataError naming the cell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dropout_core.data.errors import DataError

Classes = tuple[bool | int | float | str, ...]


def feature_tensor(frame: pl.DataFrame, features: Sequence[str]) -> Tensor:
    """The columns `features`, in that order: (N, F) float64."""
    for name in features:
        _check_column(frame, name)
        if not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
            raise DataError("a feature has to be numeric or boolean", column=name)
    matrix = frame.select(pl.col(features).cast(pl.Float64)).to_numpy(order="c")
    return torch.from_numpy(np.array(matrix))


def find_classes(frame: pl.DataFrame, target: str) -> Classes:
    """The distinct values of the target, sorted."""
    _check_column(frame, target)
    return tuple(frame[target].unique().sort().to_list())


def class_tensor(frame: pl.DataFrame, target: str, classes: Classes) -> Tensor:
    """Each row's index in `classes`: (N) int64. A value that is no class is a DataError."""
    _check_column(frame, target)
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
    """The target of a regression: (N) float64."""
    _check_column(frame, target)
    if not frame[target].dtype.is_numeric():
        raise DataError("the target of a regression has to be numeric", column=target)
    return torch.from_numpy(np.array(frame[target].cast(pl.Float64).to_numpy()))


def _check_column(frame: pl.DataFrame, name: str) -> None:
    if name not in frame.columns:
        raise DataError("the data has no such column", column=name)
    if frame[name].null_count():
        row = int(frame[name].is_null().arg_max() or 0)
        raise DataError("a value is missing", row=row + 1, column=name)
