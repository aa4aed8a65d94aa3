"""Text cells as numbers and truth values, whether a file or JSON brings them.

Columns have the dtypes of a stored table. A result is null where a cell cannot be read, and where
it is missing; `refuse_unreadable` tells the two apart. For dates see `dates`.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import polars as pl

from dropout_core.data.by_name import exactly
from dropout_core.data.formats import NumberFormat
from dropout_core.errors import DataError

PLAIN: Final = NumberFormat()

# The usual one comes first where cells fit several.
FORMATS: tuple[NumberFormat, ...] = (
    PLAIN,
    NumberFormat(thousands=","),
    NumberFormat(decimal=","),
    NumberFormat(decimal=",", thousands="."),
    NumberFormat(thousands=" "),
    NumberFormat(decimal=",", thousands=" "),
    NumberFormat(thousands="'"),
    NumberFormat(decimal=",", thousands="'"),
)

_SPACES = "\u0020\u00a0\u2009\u202f"
_MINUS = "\u2212\u2013"  # a minus, and the dash that is often typed for one
_APOSTROPHES = "'\u2019"
_GROUPS = {" ": "|".join(_SPACES), "'": "|".join(_APOSTROPHES)}
CURRENCY = (
    r"(?:(?:US|CA|AU|NZ|HK|SG|NT|MX|[ACRS])?\$|\p{Sc}"
    r"|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|TRY|USD|ZAR"
    r"|kr|zł|Kč|Ft|Rs\.?|Fr\.?)"
)
_SHOWN_CHARACTERS = 60
_TRUTH = {"true": True, "false": False}


def parse_numbers(
    frame: pl.DataFrame, formats: Mapping[str, NumberFormat] | None = None
) -> pl.DataFrame:
    """Return every column as Float64: true is 1, false is 0, NaN is as missing as null.

    Text is read with white space around it, `true` and `false` in any case, and numbers as
    `number_text` reads them in the column's format; the usual one is NumberFormat(). A date is no
    number. A number that is not text has to be passed as a number: its text is no cell's.
    """
    if all(dtype == pl.Float64 for dtype in frame.dtypes):
        return frame
    formats = formats or {}
    values = frame.select(
        _number(pl.nth(index), dtype, formats.get(name, PLAIN))
        for index, (name, dtype) in enumerate(frame.schema.items())
    )
    for name in _not_all_read(frame, values):
        truth = parse_booleans(frame[name]).cast(pl.Float64)
        values = values.with_columns(values[name].fill_null(truth))
    # Most columns are plain: the grammar of all others is only asked about what is left.
    for name in _not_all_read(frame, values):
        if formats.get(name, PLAIN) == PLAIN:
            written = frame.select(_written_number(exactly(name).as_expr(), PLAIN)).to_series()
            values = values.with_columns(values[name].fill_null(written))
    return values


def _not_all_read(frame: pl.DataFrame, values: pl.DataFrame) -> list[str]:
    return [
        name
        for name, dtype in frame.schema.items()
        if dtype == pl.String and values[name].null_count() > frame[name].null_count()
    ]


def _number(column: pl.Expr, dtype: pl.DataType, format_: NumberFormat) -> pl.Expr:
    if dtype == pl.String:
        if format_ != PLAIN:
            return _written_number(column, format_)
        # The bits of a result hold no sign of a NaN: `-nan` is as missing as `nan`.
        return column.str.strip_chars().cast(pl.Float64, strict=False).fill_nan(math.nan)
    if isinstance(dtype, pl.Datetime):
        column = pl.when(False).then(column.to_physical())
    return column.cast(pl.Float64, strict=False)


def _written_number(column: pl.Expr, format_: NumberFormat) -> pl.Expr:
    text = number_text(column.str.strip_chars(), format_)
    return text.cast(pl.Float64, strict=False)


def number_text(cells: pl.Expr, format_: NumberFormat) -> pl.Expr:
    """Return numbers written in a format as plain text, null where a cell is no such number.

    Cells have no white space around them. `$1,234.50` becomes 1234.50, `(12)` becomes -12, and
    `45%` becomes 45e-2. A number has at most one sign, currency and `%`, in the usual places, and
    groups of three digits if it has groups; other cells are not read, and no cell is read by
    another format.
    """
    pattern = number_pattern(format_)
    read = pl.when(cells.str.contains(pattern)).then(cells)
    text = read.str.replace_all(CURRENCY, "").str.replace_all(rf"[)+{_SPACES}{_APOSTROPHES}]", "")
    if format_.thousands in (",", "."):
        text = text.str.replace_all(format_.thousands, "", literal=True)
    if format_.decimal == ",":
        text = text.str.replace(",", ".", literal=True)
    return text.str.replace_all(f"[({_MINUS}]", "-").str.replace("%", "e-2", literal=True)


def plain_numbers(column: pl.Series, format_: NumberFormat) -> pl.Series:
    """Return the `number_text` of each cell of text; other columns as they are."""
    if column.dtype != pl.String:
        return column
    text = number_text(pl.col("cell").str.strip_chars(), format_)
    return column.to_frame("cell").select(text).to_series()


def bare_number_text(cells: pl.Expr, format_: NumberFormat) -> pl.Expr:
    """Return the `number_text` of numbers without a unit, null for all others: it is quicker."""
    text: pl.Expr = pl.when(cells.str.contains(f"^[+-]?(?:{_digits(format_)})$")).then(cells)
    if format_.thousands:
        marks = {" ": _SPACES, "'": _APOSTROPHES}.get(format_.thousands, format_.thousands)
        text = text.str.replace_all(f"[{marks}]", "")
    return text.str.replace(",", ".", literal=True) if format_.decimal == "," else text


def formats_with(decimal: str | None, thousands: str | None) -> tuple[NumberFormat, ...]:
    """Return the formats with these separators; None is any."""
    return tuple(
        format_
        for format_ in FORMATS
        if decimal in (None, format_.decimal)
        and format_.decimal != thousands
        and (thousands is None or format_.thousands in ("", thousands))
    )


def number_pattern(format_: NumberFormat) -> str:
    """Return the pattern of a whole cell that is a number in this format."""
    digits = _digits(format_)
    space = f"[{_SPACES}]?"
    before = f"(?:{CURRENCY}{space})?"
    after = f"(?:{space}%|{space}{CURRENCY})?"
    sign = f"[-+{_MINUS}]"
    signed = f"(?:{sign}{space}{before}|{before}{sign}?){digits}"
    return (
        rf"^(?:{sign}?{digits}(?:[eE][+-]?[0-9]+)?|{signed}{after}"
        rf"|{before}\({before}{digits}{after}\){space}%?)$"
    )


def _digits(format_: NumberFormat) -> str:
    point, whole = re.escape(format_.decimal), "[0-9]+"
    if format_.thousands:
        group = _GROUPS.get(format_.thousands, re.escape(format_.thousands))
        # The same sign separates all groups.
        grouped = "|".join(f"[1-9][0-9]{{0,2}}(?:{sign}[0-9]{{3}})+" for sign in group.split("|"))
        whole = f"(?:{grouped}|[0-9]+)"
    return f"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)"


def may_be_numbers(text: pl.Series) -> pl.Series:
    """Return Boolean: whether the text is a number in some format."""
    cells = text.str.strip_chars()
    return cells.str.contains("|".join(map(number_pattern, FORMATS)))


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
