"""Turn the targets of a frame into tensors. Raises DataError naming the cell."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.data.by_name import exactly, existing, numbered
from dropout_core.data.categories import CategoricalFeature, names_as
from dropout_core.data.parsing import parse_numbers, refusal, refuse_unreadable
from dropout_core.data.stored_types import StoredAs, frame_as_stored
from dropout_core.errors import DataError

Classes = tuple[bool | int | float | str, ...]


def with_targets(frame: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
    """Return the rows in which no target is missing. Raises DataError if a column is missing."""
    return frame.drop_nulls(exactly(*existing(frame.columns, targets)))


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
            return tuple(frame[targets[0]].alias("").unique().sort().to_list())


def target_tensor(
    frame: pl.DataFrame, targets: Sequence[str], task: Task, classes: Classes | None
) -> Tensor:
    """Return each row's index in `classes`: (N) int64.

    Labels are 0 or 1, and a regression has its values: (N, C) float64. A cell means what it means
    in a feature, however it is stored: text may spell a number, and a number the name of a class.
    """
    with numbered(frame, targets) as numbers:
        columns = frame_as_stored(numbers)
        for column in columns:
            if column.null_count():
                row = int(column.is_null().arg_max() or 0)
                raise DataError("a value is missing", row=row + 1, column=column.name)
        match task:
            case "regression":
                return _stack([_values(column) for column in columns])
            case "multilabel":
                return _stack([_labels(column) for column in columns])
            case _:
                assert classes is not None
                return _indices(columns.to_series(), classes)


def _stack(columns: Sequence[pl.Series]) -> Tensor:
    return torch.from_numpy(np.column_stack([column.to_numpy() for column in columns]))


def _values(column: pl.Series) -> pl.Series:
    values = parse_numbers(column.to_frame()).to_series()
    refuse_unreadable(column, values.fill_nan(None), (), "is no number")
    return values


def _labels(column: pl.Series) -> pl.Series:
    values = _values(column)
    if not (known := values.is_in([0.0, 1.0])).all():
        raise refusal(column, int((~known).arg_max() or 0), "is neither 0 nor 1")
    return values


def _indices(column: pl.Series, classes: Classes) -> Tensor:
    codes = _as_feature(classes).codes(column)
    if not codes.all():
        row = int(codes.argmin())
        raise refusal(column, row, f"is none of the {len(classes)} classes")
    return torch.from_numpy(codes.astype(np.int64) - 1)


def _as_feature(classes: Classes) -> CategoricalFeature:
    """Return the feature whose categories are the classes: labels are matched as features are."""
    types = set(map(type, classes))
    stored_as: StoredAs = "text" if types == {str} else "boolean" if types == {bool} else "number"
    names = names_as(pl.Series(classes, strict=False), stored_as)
    return CategoricalFeature(name="", stored_as=stored_as, categories=tuple(names))
