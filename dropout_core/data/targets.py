"""Turn the targets of a frame into tensors. Raises DataError naming the cell."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.errors import DataError

Classes = tuple[bool | int | float | str, ...]


def existing(frame: pl.DataFrame, names: Iterable[str]) -> list[str]:
    """Return the names. Raises DataError if one is no column."""
    for name in names:
        if name not in frame.columns:
            raise DataError("the data has no such column", column=name)
    return list(names)


def with_targets(frame: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
    """Return the rows in which no target is missing. Raises DataError if a column is missing."""
    return frame.drop_nulls(existing(frame, targets))


def labelled(
    frame: pl.DataFrame, targets: Sequence[str], task: Task, classes: Classes | None
) -> tuple[pl.DataFrame, Tensor]:
    """Return the rows in which no target is missing, and their `target_tensor`."""
    rows = with_targets(frame, targets)
    return rows, target_tensor(rows, targets, task, classes)


def find_classes(frame: pl.DataFrame, targets: Sequence[str], task: Task) -> Classes | None:
    """Return what the outputs of a network stand for; None for a regression.

    Classes are the sorted distinct values of the target; labels are named by their columns.
    """
    match task:
        case "regression":
            return None
        case "multilabel":
            return tuple(targets)
        case _:
            return tuple(frame[targets[0]].unique().sort().to_list())


def target_tensor(
    frame: pl.DataFrame, targets: Sequence[str], task: Task, classes: Classes | None
) -> Tensor:
    """Return each row's index in `classes`: (N) int64.

    Labels are 0 or 1, and a regression has its values: (N, C) float64.
    """
    for name in existing(frame, targets):
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_max() or 0)
            raise DataError("a value is missing", row=row + 1, column=name)
    match task:
        case "regression":
            return _stack([_values(frame[name]) for name in targets])
        case "multilabel":
            return _stack([_labels(frame[name]) for name in targets])
        case _:
            assert classes is not None
            return _indices(frame[targets[0]], classes)


def _stack(columns: Sequence[pl.Series]) -> Tensor:
    return torch.from_numpy(np.column_stack([column.to_numpy() for column in columns]))


def _values(column: pl.Series) -> pl.Series:
    if not column.dtype.is_numeric():
        raise DataError("the target of a regression has to be numeric", column=column.name)
    return column.cast(pl.Float64)


def _labels(column: pl.Series) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise DataError("a label has to be boolean, or 0 and 1", column=column.name)
    values = column.cast(pl.Float64)
    if not (known := values.is_in([0.0, 1.0])).all():
        row = int((~known).arg_max() or 0)
        raise DataError(f"{column[row]} is neither 0 nor 1", row=row + 1, column=column.name)
    return values


def _indices(column: pl.Series, classes: Classes) -> Tensor:
    index_of: dict[Any, int] = {value: index for index, value in enumerate(classes)}
    values = column.to_list()
    indices = [index_of.get(value, -1) for value in values]
    if -1 in indices:
        row = indices.index(-1)
        raise DataError(
            f"{values[row]!r} is none of the {len(classes)} classes",
            row=row + 1,
            column=column.name,
        )
    return torch.tensor(indices, dtype=torch.int64)
