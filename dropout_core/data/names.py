"""What values are called: one name for each, whether stored as a number or spelt in text."""

from typing import Literal

import polars as pl

from dropout_core.data.cells import numbers, plain_dates, truth_values, without_words
from dropout_core.data.missing import MISSING_WORDS

Kind = Literal["number", "boolean", "datetime", "text"]

LARGEST_WHOLE = 2.0**63
"""The smallest Float64 that no Int64 holds."""

_BOOLEANS = {"0": "false", "1": "true"}


def kind_of(dtype: pl.DataType) -> Kind:
    """What the values of a stored column are."""
    if dtype == pl.String:
        return "text"
    if dtype == pl.Boolean:
        return "boolean"
    return "datetime" if isinstance(dtype, pl.Datetime) else "number"


def names_as(values: pl.Series, kind: Kind) -> pl.Series:
    """What values are called that are read as `kind`: String, null for those that cannot be."""
    if kind == "number":
        return _number_names(values)
    if kind == "boolean":
        return _number_names(values).replace_strict(_BOOLEANS, default=None, return_dtype=pl.String)
    if isinstance(values.dtype, pl.Datetime):
        return _date_names(values)
    if values.dtype == pl.Boolean:
        return names_as(values, "boolean")
    return values if values.dtype == pl.String else _number_names(values)


def spelt_names(text: pl.Series) -> pl.Series:
    """What the truth value, the number or the date that text spells is called; else its words."""
    truth = names_as(truth_values(text), "boolean")
    spelt = truth.fill_null(_number_names(text)).fill_null(_date_names(plain_dates(text)))
    return spelt.fill_null(without_words(text, MISSING_WORDS).str.strip_chars())


def _number_names(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Float64:
        return _float_names(values)
    whole = values.str.strip_chars() if values.dtype == pl.String else values
    if isinstance(values.dtype, pl.Datetime):
        return pl.repeat(None, len(values), dtype=pl.String, eager=True)
    # As whole numbers first, for those that no Float64 holds.
    names = whole.cast(pl.Int64, strict=False).cast(pl.String)
    return names.fill_null(_float_names(numbers(values.to_frame()).to_series()))


def _float_names(values: pl.Series) -> pl.Series:
    value = pl.col("value")
    is_whole = (value == value.floor()) & (value.abs() < LARGEST_WHOLE)
    as_whole = value.cast(pl.Int64, strict=False).cast(pl.String)
    name = pl.when(is_whole).then(as_whole).when(value.is_finite()).then(value.cast(pl.String))
    return values.to_frame("value").select(name).to_series()


def _date_names(values: pl.Series) -> pl.Series:
    return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.f").str.strip_suffix("T00:00:00")
