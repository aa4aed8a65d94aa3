"""What a cell means, however it arrives: as a stored value, as text from a file, or out of JSON.

Columns have the dtypes of a stored table: Int64, Float64, Boolean, String, Datetime in UTC. A cell
that cannot be read is null in a result, as a missing one is; `first_unreadable` tells them apart.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import polars as pl

from dropout_core.errors import DataError

DATETIME = pl.Datetime("us")
STORED = (pl.Int64, pl.Float64, pl.Boolean, pl.String, DATETIME)
_WIDE = (pl.UInt64, pl.Int128, pl.UInt128)  # whole numbers that an Int64 may not hold

_SHOWN_CHARACTERS = 60
_TRUTH = {"true": True, "false": False}
_DATE = r"^\s*(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
_TIME = (
    r"(?:[Tt ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    r" ?(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):?(?P<zone_minute>[0-9]{2})?)?)?$"
)
_ISO = r"${year}-${month}-${day}"
_DOTS = r"^\s*(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4})"
_YEAR_FIRST = r"^\s*(?P<year>[0-9]{4})/(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})"
_DAY_FIRST = r"^\s*(?P<day>[0-9]{1,2})/(?P<month>[0-9]{1,2})/(?P<year>[0-9]{4})"
_MONTH_FIRST = r"^\s*(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})"


_FIRST = pl.datetime(1, 1, 1)
_LAST = pl.datetime(9999, 12, 31, 23, 59, 59, 999_999)


def stored(column: pl.Series) -> pl.Series:
    """The column in a dtype of a stored table. Raises DataError if none can hold it."""
    dtype = column.dtype
    if dtype in STORED:
        return column
    if dtype in _WIDE or dtype in (pl.Categorical, pl.Enum, pl.Null):
        return column.cast(pl.String)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_numeric():
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if isinstance(dtype, pl.Datetime | pl.Date):
        return column.cast(DATETIME)
    raise DataError(f"values of the type {dtype} cannot be read", column=column.name)


def first_unreadable(
    column: pl.Series, values: pl.Series, *, missing: Collection[str]
) -> int | None:
    """The index of the first cell that is null in `values`, but not missing in `column`."""
    if values.null_count() == column.null_count():
        return None
    unreadable = values.is_null() & column.is_not_null()
    if column.dtype == pl.String:
        unreadable &= ~column.str.strip_chars().is_in(["", *missing])
    return unreadable.arg_max() if unreadable.any() else None


def numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as Float64: true is 1, false is 0, NaN is as missing as null.

    Text is read with white space around it, `true` and `false` in any case. A date is no number.
    """
    if all(dtype == pl.Float64 for dtype in frame.dtypes):
        return frame
    values = frame.select(_number(name, dtype) for name, dtype in frame.schema.items())
    words = [
        name
        for name, dtype in frame.schema.items()
        if dtype == pl.String and values[name].null_count() > frame[name].null_count()
    ]
    if not words:
        return values
    return values.with_columns(
        values[name].fill_null(truth_values(frame[name]).cast(pl.Float64)) for name in words
    )


def _number(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        column = column.str.strip_chars()
    elif isinstance(dtype, pl.Datetime):
        column = pl.when(False).then(column.to_physical())
    return column.cast(pl.Float64, strict=False)


def truth_values(text: pl.Series) -> pl.Series:
    """Boolean of the words `true` and `false`, in any case."""
    words = text.str.strip_chars().str.to_lowercase()
    return words.replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)


def dates(column: pl.Series) -> pl.Series:
    """Datetime of a stored column: UTC, where no zone is given.

    Text is an ISO 8601 date, with a time, a fraction of seconds and a zone if wanted; or the date
    is written 31.12.2024 or 2024/12/31. 31/12/2024 and 12/31/2024 are read where all such dates of
    the column fit one of the two; DataError where they fit both and differ. Numbers are no dates.
    """
    if column.dtype == DATETIME:
        return column
    if column.dtype != pl.String:
        return pl.repeat(None, len(column), dtype=DATETIME, eager=True)
    distinct = column.unique().drop_nulls()
    slashed = distinct.str.contains(_DAY_FIRST)
    if not slashed.any():
        return replace(column, distinct, plain_dates(distinct))
    readings = [
        plain_dates(distinct.str.replace(pattern, _ISO)) for pattern in (_DAY_FIRST, _MONTH_FIRST)
    ]
    unread = [int((slashed & reading.is_null()).sum()) for reading in readings]
    if unread == [0, 0] and not readings[0].equals(readings[1]):
        row = int(column.is_in(distinct.filter(readings[0] != readings[1])).arg_max() or 0)
        raise DataError(
            f"{shown(column[row])} may be day/month or month/day: write dates as 2024-12-31",
            row=row + 1,
            column=column.name,
        )
    best = readings[0] if unread[0] <= unread[1] else readings[1]
    return replace(column, distinct, best)


def replace(
    values: pl.Series, old: pl.Series, new: pl.Series, *, default: float | None = None
) -> pl.Series:
    """`new` in the place of the distinct values `old`, `default` for all others and for null."""
    if len(old) == 0:
        return pl.repeat(default, len(values), dtype=new.dtype, eager=True)
    return values.replace_strict(old, new, default=default, return_dtype=new.dtype)


def without_words(text: pl.Series, missing: Collection[str]) -> pl.Series:
    """The text, null where it is a word for a missing value."""
    return text.set(text.str.strip_chars().is_in(["", *missing]), None)


@lru_cache(maxsize=64)
def spell_a_value(words: frozenset[str]) -> bool:
    """Whether any of the words could be read as a number, a truth value or a date, as -999 can.

    Words for a missing value that could be have to be looked for before values are read. NaN is
    as missing as they are.
    """
    text = pl.Series("word", sorted(words), dtype=pl.String)
    values = numbers(text.to_frame()).to_series().fill_nan(None)
    is_date = plain_dates(text).is_not_null() | text.str.contains(_DAY_FIRST)
    return bool((values.is_not_null() | is_date).any())


def plain_dates(text: pl.Series) -> pl.Series:
    """Datetime of text whose dates have one reading alone, whatever the column: no 31/12/2024.

    The second 60, a leap second, is the first of the next minute.
    """
    text = text.str.strip_chars().str.replace(_DOTS, _ISO).str.replace(_YEAR_FIRST, _ISO)
    parts = text.str.extract_groups(_DATE + _TIME).struct.unnest()
    date = pl.concat_str("year", "month", "day", separator="-").str.to_date(
        "%Y-%m-%d", strict=False
    )
    microseconds = pl.col("fraction").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    zone = _whole("zone_hour", 23) * 60 + _whole("zone_minute", 59)
    minutes = _whole("hour", 23) * 60 + _whole("minute", 59)
    minutes -= pl.when(pl.col("sign") == "-").then(-zone).otherwise(zone)
    time = (minutes * 60 + _whole("second", 60)) * 1_000_000 + microseconds.fill_null(0)
    moment = (date.cast(DATETIME).to_physical() + time).cast(DATETIME)
    moment = pl.when(moment.is_between(_FIRST, _LAST)).then(moment)
    return parts.select(moment.alias(text.name)).to_series()


def _whole(part: str, largest: int) -> pl.Expr:
    value = pl.col(part).cast(pl.Int64).fill_null(0)
    return pl.when(value <= largest).then(value)


def shown(value: Any) -> str:
    """A cell for a message, cut where it is long."""
    text = repr(value[:_SHOWN_CHARACTERS]) if isinstance(value, str) else str(value)
    return f"{text}..." if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS else text
