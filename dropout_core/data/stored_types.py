"""The dtypes of a stored table, and how any other dtype becomes one of them.

A stored column is Int64, Float64, Boolean, String or Datetime in UTC with microseconds. A value
that none of them holds is refused. Only digits behind the decimal point may be rounded, and
`lost_digits` tells of it.
"""

from typing import Literal

import polars as pl

from dropout_core.errors import DataError

StoredAs = Literal["number", "boolean", "text", "datetime"]

DATETIME = pl.Datetime("us")

INT64_BOUND = 2.0**63
"""The smallest positive Float64 that no Int64 holds."""

EXACT_BOUND = 2**53
"""Up to here a Float64 holds all whole numbers."""

LAST_NANOSECOND = 2**63 - 1
"""In 2262. It also stands for dates beyond nanoseconds where polars reads INT96."""

_UNBOUNDED = (pl.Int64, pl.Float64, pl.Boolean, pl.String)  # stored dtypes that hold any value
_STORED = (*_UNBOUNDED, DATETIME)
_WIDE_INTEGERS = (pl.UInt64, pl.Int128, pl.UInt128)
_MAX_DECIMAL_DIGITS = 38  # of polars
_FLOAT_DIGITS = 15  # a Float64 keeps any decimal number of so many digits

# polars cannot write a date as text that is further than this from 1970, some 253,000 years.
_MAX_DATE_MICROSECONDS = 8 * 10**18
_MICROSECONDS = {"day": 86_400_000_000, "ms": 1_000, "us": 1}


def stored_dtype(dtype: pl.DataType, *, column: str) -> pl.DataType:
    """Return the dtype that a column of `dtype` is stored as. Raises DataError if there is none."""
    if dtype in _STORED:
        return dtype
    if isinstance(dtype, pl.Decimal) and dtype.precision > _MAX_DECIMAL_DIGITS:
        raise DataError(
            f"decimals of {dtype.precision} digits are not supported: "
            f"use at most {_MAX_DECIMAL_DIGITS}",
            column=column,
        )
    if dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0):
        return pl.Int64()
    if dtype.is_numeric():
        return pl.Float64()
    if isinstance(dtype, pl.Datetime | pl.Date):
        return DATETIME
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if dtype == pl.Null:
        return pl.Boolean()
    raise DataError(
        f"values of type {dtype} are not supported: leave the column out, or store numbers, text, "
        "booleans or dates",
        column=column,
    )


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
    dtypes = table.collect_schema().dtypes()
    if all(dtype in _UNBOUNDED for dtype in dtypes):
        return table
    stored = check_storable(table)
    return table.select(_cast(pl.nth(i), dtypes[i], stored[i]) for i in range(len(dtypes)))


def as_given(table: pl.LazyFrame) -> pl.LazyFrame:
    """Keep every column's dtype, also where values cannot be stored; categories become text.

    `frame_as_stored` of the result is `frame_as_stored` of the table. `unstorable` names columns
    without a stored dtype, such as lists. Raises DataError for a date that cannot be written as
    text.
    """
    dtypes = table.collect_schema().dtypes()
    dates = [i for i, dtype in enumerate(dtypes) if isinstance(dtype, pl.Datetime | pl.Date)]
    check_storable(table.select(pl.nth(dates)))
    changed = (pl.Categorical, pl.Enum, pl.Null)
    return table.select(
        pl.nth(i).cast(stored_dtype(dtype, column="")) if isinstance(dtype, changed) else pl.nth(i)
        for i, dtype in enumerate(dtypes)
    )


def unstorable(table: pl.LazyFrame) -> list[str]:
    """Return the columns that have no stored dtype, such as lists."""
    schema = table.collect_schema()
    return [name for name, dtype in schema.items() if not _is_storable(dtype)]


def _is_storable(dtype: pl.DataType) -> bool:
    try:
        stored_dtype(dtype, column="")
    except DataError:
        return False
    return True


def frame_as_stored(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `as_stored` of a frame in memory. Raises DataError."""
    if all(dtype in _UNBOUNDED for dtype in frame.dtypes):
        return frame
    return as_stored(frame.lazy()).collect()


def without_nan(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return the table with null for NaN, which is as missing."""
    return table.with_columns(pl.col(pl.Float64, pl.Float32).fill_nan(None))


def lost_digits(table: pl.LazyFrame) -> list[str]:
    """Return a warning for each column whose values `as_stored` rounds.

    Raises DataError for a column without a stored dtype, before it is read.
    """
    schema = table.collect_schema()
    for name, dtype in schema.items():
        stored_dtype(dtype, column=name)
    asked = {
        name: question.sum()
        for index, (name, dtype) in enumerate(schema.items())
        if (question := _loses_digits(pl.nth(index), dtype)) is not None
    }
    if not asked:
        return []
    answers = table.select(count.alias(str(i)) for i, count in enumerate(asked.values()))
    counts = dict(zip(asked, answers.collect().row(0), strict=True))
    kept = {True: "microseconds", False: f"numbers of 64 bits, about {_FLOAT_DIGITS} digits"}
    return [
        f"column {name!r}: {count} values are rounded to {kept[schema[name].is_temporal()]}"
        for name, count in counts.items()
        if count
    ]


def check_storable(table: pl.LazyFrame) -> list[pl.DataType]:
    """Return the stored dtype of each column.

    Columns that may hold a value beyond the stored dtype are read, to check them. Raises DataError
    that names a column without a stored dtype, or the row and column of such a value.
    """
    schema = table.collect_schema()
    dtypes = [stored_dtype(dtype, column=name) for name, dtype in schema.items()]
    _check_range(table, schema)
    return dtypes


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
            raise DataError(_what_is_beyond(schema[name]), row=index + 1, column=name)


def _what_is_beyond(dtype: pl.DataType) -> str:
    if dtype.is_temporal():
        return "a date is more than 253,000 years away from 1970"
    if isinstance(dtype, pl.Decimal) and dtype.scale:
        return "a number with decimals is larger than 2^53 and would lose digits: store text"
    return "an integer is larger than 64 bits: store text"


def _is_beyond(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Return whether each value is beyond the stored dtype; None if no value of `dtype` can be."""
    if dtype in _WIDE_INTEGERS or isinstance(dtype, pl.Decimal):
        whole = column.cast(pl.Int64, strict=False)
        is_beyond = column.is_not_null() & whole.is_null()
        if isinstance(dtype, pl.Decimal) and dtype.scale:
            is_beyond |= ~whole.is_between(-EXACT_BOUND, EXACT_BOUND)
        return is_beyond
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "day"
    if not isinstance(dtype, pl.Datetime | pl.Date) or unit not in _MICROSECONDS:
        return None
    bound = _MAX_DATE_MICROSECONDS // _MICROSECONDS[unit]
    return ~column.to_physical().cast(pl.Int64).is_between(-bound, bound).fill_null(True)


def _loses_digits(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Return whether each value is rounded; None if no value of `dtype` is."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        nanoseconds = column.to_physical()
        return (nanoseconds % 1_000 != 0) & (nanoseconds != LAST_NANOSECOND)
    if isinstance(dtype, pl.Decimal) and dtype.scale and dtype.precision > _FLOAT_DIGITS:
        digits = column.cast(pl.String).str.replace(".", "", literal=True).str.strip_chars("-0")
        return digits.str.len_chars() > _FLOAT_DIGITS
    return None
