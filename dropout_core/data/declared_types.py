"""Columns of text that a job declares to be numbers or dates: read by force.

Cells that cannot be read are missing, and `unreadable_cells` shows them.
"""

from collections.abc import Mapping

import polars as pl

from dropout_core.config import FeatureType
from dropout_core.data.by_name import existing, naming
from dropout_core.data.dates import parse_dates
from dropout_core.data.formats import CellFormat, DateFormat
from dropout_core.data.parsing import FORMATS, parse_numbers, shown, without_missing
from dropout_core.data.reading import Reading
from dropout_core.errors import DataError

_NUM_EXAMPLES = 3
_NOUNS = {"numeric": "numbers", "datetime": "dates"}


def read_by_force(
    frame: pl.DataFrame, types: Mapping[str, FeatureType], *, reading: Reading
) -> tuple[pl.DataFrame, Reading]:
    """Return the frame with the numbers and dates of its columns of text that `types` declares.

    The reading that is returned calls them lenient and tells how they are written. Raises DataError
    for a column in which nothing can be read, and for dates with two readings.
    """
    names = existing(frame.columns, list(types))
    forced = [n for n in names if types[n] in _NOUNS and frame.schema[n] == pl.String]
    formats, columns = dict(reading.formats), []
    for name in forced:
        values, format_ = forced_values(frame[name], types[name], reading=reading)
        columns.append(values)
        if format_ is not None:
            formats[name] = format_
    told = {"formats": formats, "lenient": (*reading.lenient, *forced)}
    return frame.with_columns(columns), reading.model_copy(update=told)


def forced_values(
    column: pl.Series, type_: FeatureType, *, reading: Reading
) -> tuple[pl.Series, CellFormat | None]:
    """Return the numbers or dates of a column of text, null where a cell cannot be read.

    They are written as the reading says, or in the format, also returned, that reads most cells.
    """
    name = column.name
    with naming([name]):
        text = without_missing(column.alias("0"), reading.missing)
        values, format_ = (_numbers if type_ == "numeric" else _dates)(text, name, reading)
    if values.null_count() == len(values) > column.null_count():
        raise DataError(f"none of its values is a {_NOUNS[type_][:-1]}", column=name, field="types")
    return values.alias(name), format_


def _numbers(text: pl.Series, name: str, reading: Reading) -> tuple[pl.Series, CellFormat | None]:
    known = reading.number_format(name)
    read = [
        (parse_numbers(text.to_frame(), {"0": format_}).to_series().fill_nan(None), format_)
        for format_ in (FORMATS if known is None else (known,))
    ]
    return min(read, key=lambda found: found[0].null_count())  # the first of equals


def _dates(text: pl.Series, name: str, reading: Reading) -> tuple[pl.Series, CellFormat | None]:
    known = reading.date_format(name)
    values = parse_dates(text, known)
    orders = [DateFormat(pattern=order) for order in ("day first", "month first")]
    as_meant = [order for order in orders if parse_dates(text, order).equals(values)]
    return values, as_meant[0] if known is None and len(as_meant) == 1 else known


def unreadable_cells(column: pl.Series, type_: FeatureType, *, reading: Reading) -> str | None:
    """Return a warning that shows the cells of a forced column that cannot be read, None without.

    Raises DataError as `read_by_force` does.
    """
    values = forced_values(column, type_, reading=reading)[0].alias("")
    text = without_missing(column.alias(""), reading.missing)
    rows = (text.is_not_null() & values.is_null()).arg_true()
    if not len(rows):
        return None
    such = ", ".join(f"{shown(text[row])} in row {row + 1}" for row in rows[:_NUM_EXAMPLES])
    num_cells = len(text) - text.null_count()
    return (
        f"column {column.name!r}: {len(rows)} of {num_cells} values are no {_NOUNS[type_]} and "
        f"count as missing, such as {such}"
    )
