"""Turn the targets of a frame into tensors. Raises DataError naming the cell."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.data.by_name import exactly, existing, numbered
from dropout_core.data.categories import CategoricalFeature, names_as
from dropout_core.data.columns import LONG_CLASS, MAX_NAME_CHARACTERS
from dropout_core.data.formats import NumberFormat
from dropout_core.data.labels import LabelColumn, target_columns
from dropout_core.data.parsing import parse_numbers, refusal, refuse_unreadable
from dropout_core.data.reading import Reading
from dropout_core.data.stored_types import StoredAs, frame_as_stored
from dropout_core.errors import DataError

Classes = tuple[bool | int | float | str, ...]


def with_targets(frame: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
    """Return the rows in which no target is missing. Raises DataError if a column is missing."""
    return frame.drop_nulls(exactly(*existing(frame.columns, targets)))


def mark_missing(
    table: pl.LazyFrame, targets: Sequence[str], classes: Classes | None, *, reading: Reading
) -> pl.LazyFrame:
    """Return the table with null for text of the targets that stands for a missing value.

    A word that names a class is none. Raises DataError if a column is missing.
    """
    schema = table.collect_schema()
    existing(schema.names(), targets)
    words = list({"", *reading.missing}.difference(classes or ()))
    texts = [exactly(name).as_expr() for name in targets if schema[name] == pl.String]
    return table.with_columns(
        pl.when(~text.str.strip_chars().is_in(words)).then(text) for text in texts
    )


def labelled(
    frame: pl.DataFrame,
    targets: Sequence[str],
    task: Task,
    classes: Classes | None,
    *,
    reading: Reading | None = None,
    label_column: LabelColumn | None = None,
) -> tuple[pl.DataFrame, Tensor]:
    """Return the rows in which no target is missing, and their `target_tensor`.

    Labels are read from their `label_column`, or from their own columns in a frame without it.
    """
    reading = reading or Reading()
    columns = target_columns(frame.columns, targets, label_column)
    marked = mark_missing(frame.lazy(), columns, classes, reading=reading).collect()
    rows = with_targets(marked, columns)
    if label_column is not None and label_column.name in columns:
        rows = label_column.expand(rows, targets)
    return rows, target_tensor(rows, targets, task, classes, reading=reading)


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
            values = frame[targets[0]].alias("")  # its methods take a name for a pattern
            if values.dtype == pl.String and values.str.len_chars().max() > MAX_NAME_CHARACTERS:  # type: ignore[operator]
                raise DataError(LONG_CLASS, column=targets[0])
            return tuple(values.unique().sort().to_list())


def target_tensor(
    frame: pl.DataFrame,
    targets: Sequence[str],
    task: Task,
    classes: Classes | None,
    *,
    reading: Reading | None = None,
) -> Tensor:
    """Return each row's index in `classes`: (N) int64.

    Labels are 0 or 1, and a regression has its values: (N, C) float64. A cell means what it means
    in a feature, however it is stored: text may spell a number, as `reading` says it is written,
    and a number the name of a class.
    """
    formats = [reading.number_format(name) if reading else None for name in targets]
    with numbered(frame, targets) as numbers:
        columns = frame_as_stored(numbers)
        for column in columns:
            if column.null_count():
                row = int(column.is_null().arg_max() or 0)
                raise DataError("a value is missing", row=row + 1, column=column.name)
        pairs = list(zip(columns, formats, strict=True))
        match task:
            case "regression":
                return _stack([_values(column, format_) for column, format_ in pairs])
            case "multilabel":
                return _stack([_labels(column, format_) for column, format_ in pairs])
            case _:
                assert classes is not None
                return _indices(columns.to_series(), classes, formats[0])


def _stack(columns: Sequence[pl.Series]) -> Tensor:
    return torch.from_numpy(np.column_stack([column.to_numpy() for column in columns]))


def _values(column: pl.Series, format_: NumberFormat | None) -> pl.Series:
    formats = {} if format_ is None else {column.name: format_}
    values = parse_numbers(column.to_frame(), formats).to_series()
    refuse_unreadable(column, values.fill_nan(None), (), "is no number")
    return values


def _labels(column: pl.Series, format_: NumberFormat | None) -> pl.Series:
    values = _values(column, format_)
    if not (known := values.is_in([0.0, 1.0])).all():
        raise refusal(column, int((~known).arg_max() or 0), "is neither 0 nor 1")
    return values


def _indices(column: pl.Series, classes: Classes, format_: NumberFormat | None) -> Tensor:
    codes = _as_feature(classes, format_).codes(column, missing=())
    if not codes.all():
        row = int(codes.argmin())
        raise refusal(column, row, f"is none of the {len(classes)} classes")
    return torch.from_numpy(codes.astype(np.int64) - 1)


def _as_feature(classes: Classes, format_: NumberFormat | None) -> CategoricalFeature:
    """Return the feature whose categories are the classes: labels are matched as features are."""
    types = set(map(type, classes))
    stored_as: StoredAs = "text" if types == {str} else "boolean" if types == {bool} else "number"
    names = names_as(pl.Series(classes, strict=False), stored_as)
    return CategoricalFeature(
        name="",
        stored_as=stored_as,
        categories=tuple(names),
        format=format_ if stored_as == "number" else None,
    )
