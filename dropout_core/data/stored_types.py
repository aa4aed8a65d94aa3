"""The dtypes of a stored table, and how any other dtype becomes one of them.

A stored column is Int64, Float64, Boolean, String or Datetime in UTC with microseconds.
"""

from typing import Literal

import polars as pl

from dropout_core.errors import DataError

StoredAs = Literal["number", "boolean", "text", "datetime"]

DATETIME = pl.Datetime("us")

INT64_BOUND = 2.0**63
"""The smallest positive Float64 that no Int64 holds."""

_UNBOUNDED = (pl.Int64, pl.Float64, pl.Boolean, pl.String)  # stored dtypes that hold any value
_STORED = (*_UNBOUNDED, DATETIME)
_WIDE_INTEGERS = (pl.UInt64, pl.Int128, pl.UInt128)

# polars cannot write a date as text that is further than this from 1970, some 253,000 years.
_MAX_DATE_MICROSECONDS = 8 * 10**18
_MICROSECONDS = {"day": 86_400_000_000, "ms": 1_000, "us": 1}


def stored_dtype(dtype: pl.DataType, *, column: str) -> pl.DataType:
    """Return the dtype that a column of `dtype` is stored as. Raises DataError if there is none."""
    if dtype in _STORED:
        return dtype
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_numeric():
        return pl.Float64()
    if isinstance(dtype, pl.Datetime | pl.Date):
        return DATETIME
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if dtype == pl.Null:
        return pl.Boolean()
    raise DataError(f"values of type {dtype} are not supported", column=column)


def stored_as(dtype: pl.DataType) -> StoredAs:
    """Return what the values of a stored dtype are."""
    if dtype == pl.String:
        return "text"
    if dtype == pl.Boolean:
        return "boolean"
    return "datetime" if isinstance(dtype, pl.Datetime) else "number"


def as_stored(table: pl.LazyFrame) -> pl.LazyFrame:
    """Cast every column to its stored dtype; NaN stays.

    Columns that may hold a value beyond the stored dtype are read at once, to check them. Raises
    DataError that names a column without a stored dtype, or the row and column of such a value.
    """
    schema = table.collect_schema()
    dtypes = [stored_dtype(dtype, column=name) for name, dtype in schema.items()]
    _check_range(table, schema)
    return table.select(
        _cast(pl.nth(index), dtype, stored)
        for index, (dtype, stored) in enumerate(zip(schema.dtypes(), dtypes, strict=True))
    )


def frame_as_stored(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `as_stored` of a frame in memory. Raises DataError."""
    if all(dtype in _UNBOUNDED for dtype in frame.dtypes):
        return frame
    return as_stored(frame.lazy()).collect()


def without_nan(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return the stored table with null for NaN, which is as missing."""
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _cast(column: pl.Expr, dtype: pl.DataType, stored: pl.DataType) -> pl.Expr:
    if dtype == stored:
        return column
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
        return utc.dt.replace_time_zone(None).dt.cast_time_unit("us")
    return column.cast(stored)


def _check_range(table: pl.LazyFrame, schema: pl.Schema) -> None:
    first_beyond = [
        pl.arg_where(is_beyond).first().alias(name)
        for index, (name, dtype) in enumerate(schema.items())
        if (is_beyond := _is_beyond(pl.nth(index), dtype)) is not None
    ]
    if not first_beyond:
        return
    for name, index in table.select(first_beyond).collect().row(0, named=True).items():
        if index is not None:
            what = "an integer is larger than 64 bits"
            if schema[name].is_temporal():
                what = "a date is more than 253,000 years away from 1970"
            raise DataError(what, row=index + 1, column=name)


def _is_beyond(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Return whether each value is beyond the stored dtype; None if no value of `dtype` can be."""
    if dtype in _WIDE_INTEGERS:
        return column.is_not_null() & column.cast(pl.Int64, strict=False).is_null()
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "day"
    if not isinstance(dtype, pl.Datetime | pl.Date) or unit not in _MICROSECONDS:
        return None
    bound = _MAX_DATE_MICROSECONDS // _MICROSECONDS[unit]
    return ~column.to_physical().cast(pl.Int64).is_between(-bound, bound).fill_null(True)
