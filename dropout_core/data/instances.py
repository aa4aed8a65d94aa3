"""Turn JSON rows into a frame. Raises DataError naming the row and the column.

The value of a cell depends on that cell alone, never on other rows.
"""

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from dropout_core.data.by_name import naming
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.dates import parse_dates, parse_each_date
from dropout_core.data.features import (
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
    values_of,
)
from dropout_core.data.formats import DateFormat, NumberFormat
from dropout_core.data.parsing import (
    parse_numbers,
    plain_numbers,
    refuse_unreadable,
    without_missing,
)
from dropout_core.data.reading import FIRST_MISSING_WORDS
from dropout_core.data.stored_types import INT64_BOUND
from dropout_core.errors import DataError

_NUMBERS = {int, float, bool, type(None)}
_MAX_BITS = 1024  # a longer whole number is beyond the range of Float64


def instance_frame(
    instances: Sequence[Any],
    features: Sequence[Feature],
    *,
    columns: Sequence[str] = (),
    ignored: Collection[str] = (),
    missing: Collection[str] = FIRST_MISSING_WORDS,
) -> pl.DataFrame:
    """Return a column for each of the features.

    Rows are arrays in the order of `features` or of `columns`, or objects by name. Each cell of a
    column of dates, or of numbers written in a format, is read on its own; others stay numbers or
    text. `columns` and `ignored` that are no features are skipped.
    """
    names = [feature.name for feature in features]
    known = {*names, *columns, *ignored}
    if has_two_orders(names, columns):
        _refuse_arrays(instances)
    indices = [columns.index(name) for name in names] if set(names) <= set(columns) else []
    rows = [
        _values(row, names, number, known=known, indices=indices, num_columns=len(columns))
        for number, row in enumerate(instances, 1)
    ]
    if rows and all(feature.type in ("numeric", "boolean") for feature in features):
        matrix = _number_matrix(rows)
        if matrix is not None:
            return pl.DataFrame(matrix, schema=dict.fromkeys(names, pl.Float64), orient="row")
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    with naming(names):
        read = [
            _column(str(index), values, feature, missing)
            for index, (feature, values) in enumerate(zip(features, cells, strict=True))
        ]
    return pl.DataFrame(dict(zip(names, read, strict=True)))


def has_two_orders(features: Sequence[str], columns: Sequence[str]) -> bool:
    """Return whether an array row could be in either of two orders, and nothing says in which."""
    return list(features) != list(columns) and sorted(features) == sorted(columns)


def _refuse_arrays(instances: Sequence[Any]) -> None:
    for number, row in enumerate(instances, 1):
        if not isinstance(row, Mapping):
            raise DataError(
                "the model's features have another order than its table's columns, and an array "
                "does not tell which it has: send the row as an object by column name",
                row=number,
            )


def _values(
    row: Any,
    names: Sequence[str],
    number: int,
    *,
    known: Collection[str],
    indices: Sequence[int],
    num_columns: int,
) -> Sequence[Any]:
    if isinstance(row, Mapping):
        values = [row.get(name) for name in names]
        if row.keys() - known:
            unknown = next(name for name in row if name not in known)
            raise DataError("the model knows no such column", row=number, column=str(unknown))
        return values
    if not isinstance(row, list | tuple):
        raise DataError("a row has to be an array or an object", row=number)
    if len(row) == len(names):
        return row
    if indices and len(row) == num_columns:
        return [row[index] for index in indices]
    raise DataError(f"{len(row)} values for {len(names)} features", row=number)


def _number_matrix(rows: Sequence[Sequence[Any]]) -> np.ndarray[Any, Any] | None:
    if not set(map(type, chain.from_iterable(rows))) <= _NUMBERS:
        return None
    try:
        return np.array(rows, dtype=np.float64)
    except OverflowError:  # a whole number beyond the largest Float64: refused as text is
        return None


def _column(
    name: str, values: Sequence[Any], feature: Feature, missing: Collection[str]
) -> pl.Series:
    format_ = None if isinstance(feature, BooleanFeature | TextFeature) else feature.format
    if values_of(feature) == "datetime":
        return _datetimes(name, values, feature, missing)
    if feature.type in ("numeric", "boolean"):
        matrix = _number_matrix([values])
        if matrix is not None:
            return pl.Series(name, matrix[0])
    if isinstance(format_, NumberFormat) and any(isinstance(value, str) for value in values):
        return _numbers(name, values, feature, format_, missing)
    return text_column(name, values)


def _datetimes(
    name: str, values: Sequence[Any], feature: Feature, missing: Collection[str]
) -> pl.Series:
    texts = text_column(name, values)
    assert isinstance(feature, DatetimeFeature | CategoricalFeature)
    if isinstance(feature.format, DateFormat):
        dates = parse_dates(texts, feature.format)
    else:
        dates = parse_each_date(texts)
    if isinstance(feature, DatetimeFeature) and not feature.is_lenient:  # a category may be unseen
        refuse_unreadable(texts, dates, missing, "is no date")
    return dates


def _numbers(
    name: str,
    values: Sequence[Any],
    feature: Feature,
    format_: NumberFormat,
    missing: Collection[str],
) -> pl.Series:
    """Read text as the format says, and numbers of JSON as they are."""
    texts = text_column(name, [v if isinstance(v, str) else None for v in values])
    texts = without_missing(texts, missing)
    others = text_column(name, [None if isinstance(v, str) else v for v in values])
    plain = plain_numbers(texts, format_)
    if isinstance(feature, NumericFeature) and not feature.is_lenient:
        refuse_unreadable(texts, plain, missing, "is no number")
    plain = plain.fill_null(others)
    whole = plain.cast(pl.Int64, strict=False)
    if whole.null_count() == plain.null_count():
        return whole
    return parse_numbers(plain.to_frame()).to_series()


def text_column(name: str, values: Sequence[Any]) -> pl.Series:
    """Return the values as a file would hold them: String. Raises DataError for non-scalars."""
    texts = [_text(value, name, row) for row, value in enumerate(values, 1)]
    try:
        return pl.Series(name, texts, dtype=pl.String)
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can escape
        row = next(i for i, text in enumerate(texts, 1) if text and error.object in text)
        raise DataError("the text is not Unicode", row=row, column=name) from error


def _text(value: Any, name: str, number: int) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() <= _MAX_BITS:
            return str(value)
        case int():
            return "inf" if value > 0 else "-inf"
        case float():
            return _float_text(value)
        case dt.date():  # a datetime too
            return value.isoformat()
    raise DataError(
        "a value has to be a number, a string, true, false or null", row=number, column=name
    )


def _float_text(value: float) -> str | None:
    if math.isnan(value):
        return None
    whole = value.is_integer() and abs(value) < INT64_BOUND
    return str(int(value)) if whole else repr(value)
