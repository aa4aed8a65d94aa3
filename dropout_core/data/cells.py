"""Read the columns of numbers, truth values and dates as their features say.

Columns are stored ones, called by their numbers; see `by_name.numbered`. All functions raise
DataError naming the cell that cannot be read.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.data.dates import parse_dates
from dropout_core.data.features import BooleanFeature, NumericFeature
from dropout_core.data.formats import DateFormat
from dropout_core.data.parsing import parse_numbers, refusal, refuse_unreadable

_CHUNK_CELLS = 1 << 20  # enough to outweigh the cost of a chunk

Value = NumericFeature | BooleanFeature


def read_numbers(
    columns: pl.DataFrame,
    features: Mapping[str, Value],
    matrix: NDArray[np.float64],
    indices: Sequence[int],
    *,
    missing: Collection[str],
) -> None:
    """Write the columns of `features` to `indices` of the matrix, NaN for missing."""
    columns = columns.select(list(features))
    formats = {
        number: feature.format
        for number, feature in features.items()
        if isinstance(feature, NumericFeature) and feature.format is not None
    }
    values = parse_numbers(columns, formats)
    lost = [a > b for a, b in zip(_null_counts(values), _null_counts(columns), strict=True)]
    for number in itertools.compress(features, lost):
        feature = features[number]
        what = "number" if feature.type == "numeric" else "truth value"
        if not feature.is_lenient:
            refuse_unreadable(columns[number], values[number], missing, f"is no {what}")
    where: slice | Sequence[int] = indices
    if list(indices) == list(range(matrix.shape[1])):
        where = slice(None)  # much quicker than a list of all columns
    num_rows = max(1, _CHUNK_CELLS // max(1, len(indices)))
    for start in range(0, len(values), num_rows):
        # Adding zero turns -0.0 into 0.0, because the stored -0 of a file is 0.
        chunk = values[start : start + num_rows].to_numpy(order="c") + 0.0
        matrix[start : start + num_rows, where] = chunk
    is_infinite = values.select(pl.all().is_infinite().any()).row(0) if values.width else ()
    for index, feature in enumerate(features.values()):
        if is_infinite[index] and isinstance(feature, NumericFeature) and feature.is_lenient:
            read = matrix[:, indices[index]]
            read[np.isinf(read)] = np.nan
        elif is_infinite[index] or feature.type == "boolean":
            column, read = columns.to_series(index), matrix[:, indices[index]]
            if feature.is_lenient and column.dtype == pl.String:
                read[(read != 0) & (read != 1)] = np.nan
            refuse_others(column, read, feature)


def misses_value(column: pl.Series, feature: Value, *, missing: Collection[str]) -> bool:
    """Return whether the column misses a value. Raises DataError as `read_numbers` does."""
    if column.dtype.is_integer() and feature.type == "numeric":
        return column.null_count() > 0
    values = np.empty((len(column), 1))
    read_numbers(column.to_frame(), {column.name: feature}, values, [0], missing=missing)
    return bool(np.isnan(values).any())


def refuse_others(column: pl.Series, values: NDArray[np.float64], feature: Value) -> None:
    """Raise DataError for a number that is infinite, or a truth value that is not 0 or 1."""
    if feature.type == "numeric":
        wrong, why = np.isinf(values), "is infinite"
    else:
        wrong, why = ~(np.isnan(values) | (values == 0) | (values == 1)), "is no truth value"
    if wrong.any():
        raise refusal(column, int(wrong.argmax()), why)


def read_dates(
    column: pl.Series, format_: DateFormat | None, *, is_lenient: bool, missing: Collection[str]
) -> pl.Series:
    """Return the Datetime of each cell, null for missing."""
    values = parse_dates(column, format_)
    if not is_lenient:
        refuse_unreadable(column, values, missing, "is no date")
    return values


def _null_counts(frame: pl.DataFrame) -> tuple[int, ...]:
    return frame.null_count().row(0) if frame.width else ()
