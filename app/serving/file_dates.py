"""Dates that only their whole column can tell how to read: 02/03/2024.

A batch of rows does not see the whole column, so what its dates mean is settled beforehand.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from dropout_core.data import cells
from dropout_core.data.encoder import Encoder
from dropout_core.errors import DataError

_SLASHED = r"^\s*\d{1,2}/\d{1,2}/\d{4}"
_ISO = "%Y-%m-%dT%H:%M:%S%.f"


@dataclass(frozen=True)
class SettledDates:
    """What dates as they are written in a column mean, in a form that has one reading alone."""

    column: str
    written: pl.Series
    meant: pl.Series


def settle_dates(
    encoder: Encoder, table: pl.LazyFrame, *, missing: Collection[str]
) -> list[SettledDates]:
    """Such dates of the features' columns, without the words `missing`, which may look like some.

    Raises DataError if both readings fit.
    """
    schema = table.collect_schema()
    names = [name for name in encoder.moments if schema.get(name) == pl.String]
    settled = [_settle(table, name, missing) for name in names]
    return [dates for dates in settled if len(dates.written)]


def with_settled(rows: pl.DataFrame, settled: list[SettledDates]) -> pl.DataFrame:
    """The rows, with those dates as they are meant."""
    return rows.with_columns(pl.col(s.column).replace(s.written, s.meant) for s in settled)


def _settle(table: pl.LazyFrame, name: str, missing: Collection[str]) -> SettledDates:
    text = pl.col(name)
    slashed = text.str.contains(_SLASHED) & ~text.str.strip_chars().is_in(list(missing))
    written = table.select(text.filter(slashed).unique()).collect()[name]
    try:
        meant = cells.dates(written).dt.strftime(_ISO).fill_null(written)
    except DataError as error:  # its row is one of the distinct dates
        raise DataError(error.message, column=name) from error
    return SettledDates(name, written, meant)
