"""Text cells as numbers and truth values, whether a file or JSON brings them.

Columns have the dtypes of a stored table. A result is null where a cell cannot be read, and where
it is missing; `refuse_unreadable` tells the two apart. For dates see `dates`.
"""

from collections.abc import Collection
from typing import Any

import polars as pl

from dropout_core.errors import DataError

_SHOWN_CHARACTERS = 60
_TRUTH = {"true": True, "false": False}


def parse_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every column as Float64: true is 1, false is 0, NaN is as missing as null.

    Text is read with white space around it, `true` and `false` in any case. A date is no number.
    """
    if all(dtype == pl.Float64 for dtype in frame.dtypes):
        return frame
    values = frame.select(_number(pl.nth(i), dtype) for i, dtype in enumerate(frame.dtypes))
    words = [
        name
        for name, dtype in frame.schema.items()
        if dtype == pl.String and values[name].null_count() > frame[name].null_count()
    ]
    if not words:
        return values
    return values.with_columns(
        values[name].fill_null(parse_booleans(frame[name]).cast(pl.Float64)) for name in words
    )


def _number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        column = column.str.strip_chars()
    elif isinstance(dtype, pl.Datetime):
        column = pl.when(False).then(column.to_physical())
    return column.cast(pl.Float64, strict=False)


def parse_booleans(text: pl.Series) -> pl.Series:
    """Return Boolean of the words `true` and `false`, in any case."""
    words = text.str.strip_chars().str.to_lowercase()
    return words.replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)


def without_missing(text: pl.Series, missing: Collection[str]) -> pl.Series:
    """Return the text, null where it is empty or one of the words `missing`."""
    return text.set(text.str.strip_chars().is_in(["", *missing]), None)


def refuse_unreadable(
    column: pl.Series, values: pl.Series, missing: Collection[str], why: str
) -> None:
    """Raise DataError for the first cell that is null in `values`, but not missing in `column`."""
    if values.null_count() == column.null_count():
        return
    unreadable = values.is_null() & column.is_not_null()
    if column.dtype == pl.String:
        unreadable &= ~column.str.strip_chars().is_in(["", *missing])
    if unreadable.any():
        raise refusal(column, int(unreadable.arg_max() or 0), why)


def refusal(column: pl.Series, index: int, why: str) -> DataError:
    """Return the error that shows a cell and says why it cannot be used."""
    return DataError(f"{shown(column[index])} {why}", row=index + 1, column=column.name)


def replace_distinct(
    values: pl.Series, old: pl.Series, new: pl.Series, *, default: float | None = None
) -> pl.Series:
    """Replace each of the distinct values `old` by its `new`; all others and null by `default`."""
    if len(old) == 0:
        return pl.repeat(default, len(values), dtype=new.dtype, eager=True)
    return values.replace_strict(old, new, default=default, return_dtype=new.dtype)


def shown(value: Any) -> str:
    """Return a cell as a message shows it, cut where it is long."""
    text = repr(value[:_SHOWN_CHARACTERS]) if isinstance(value, str) else str(value)
    return f"{text}..." if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS else text
