"""Dates that only their whole column can tell how to read: 02/03/2024.

A batch of rows does not see the whole column, so what its dates mean is settled beforehand.
"""

from dataclasses import dataclass

import polars as pl

from dropout_core.data import cells
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.encoder import Encoder
from dropout_core.data.errors import DataError
from dropout_core.data.features import DatetimeFeature, Feature

_SLASHED = r"^\d{1,2}/\d{1,2}/\d{4}"
_ISO = "%Y-%m-%dT%H:%M:%S%.f"


@dataclass(frozen=True)
class SettledDates:
    """What dates as they are written in a column mean, in a form that has one reading alone."""

    column: str
    written: pl.Series
    meant: pl.Series


def settle_dates(encoder: Encoder, table: pl.LazyFrame) -> list[SettledDates]:
    """Such dates of the features' columns. Raises DataError if both readings fit."""
    schema = table.collect_schema()
    names = [feature.name for feature in encoder.features if _is_date(feature)]
    settled = [_settle(table, name) for name in names if schema.get(name) == pl.String]
    return [dates for dates in settled if len(dates.written)]


def with_settled(rows: pl.DataFrame, settled: list[SettledDates]) -> pl.DataFrame:
    """The rows, with those dates as they are meant."""
    return rows.with_columns(pl.col(s.column).replace(s.written, s.meant) for s in settled)


def _settle(table: pl.LazyFrame, name: str) -> SettledDates:
    text = pl.col(name)
    written = table.select(text.filter(text.str.contains(_SLASHED)).unique()).collect()[name]
    try:
        meant = cells.dates(written).dt.strftime(_ISO).fill_null(written)
    except DataError as error:  # its row is one of the distinct dates
        reason = str(error).removeprefix(f"row {error.row}, column {name!r}: ")
        raise DataError(reason, column=name) from error
    return SettledDates(name, written, meant)


def _is_date(feature: Feature) -> bool:
    return isinstance(feature, DatetimeFeature) or (
        isinstance(feature, CategoricalFeature) and feature.stored_as == "datetime"
    )
