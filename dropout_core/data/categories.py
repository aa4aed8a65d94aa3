"""Categories: the name of each value of a training column, and its code."""

from collections.abc import Collection
from functools import cached_property
from typing import Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.config import Config, added
from dropout_core.data.dates import parse_dates, parse_each_date
from dropout_core.data.formats import CellFormat, DateFormat, NumberFormat
from dropout_core.data.parsing import (
    parse_booleans,
    parse_numbers,
    plain_numbers,
    replace_distinct,
    without_missing,
)
from dropout_core.data.reading import FIRST_MISSING_WORDS, Reading
from dropout_core.data.stored_types import INT64_BOUND, StoredAs, stored_as

_BOOLEANS = {"0": "false", "1": "true"}
_MAX_SPELT_BYTES = 1000  # of a number or a date; each way to write one reads the whole text


class CategoricalFeature(Config):
    """A feature with sorted `categories`, coded 1, 2, ...; 0 is missing or not seen in training.

    The name of a category is its value as text. `stored_as` says what the values were in training.
    A value is read as that before it is looked up: 3, 3.0, "3" and "3e0" are one category of
    numbers. Text is looked up as it is. If training did not see it, it is looked up again without
    white space around it, and then as the number, boolean, date or words that it spells (long text
    spells words); the first category that spells the same matches. `format` says how text spells
    the numbers or dates; None is usual.
    """

    type: Literal["categorical"] = "categorical"
    name: str
    stored_as: StoredAs
    categories: tuple[str, ...]
    format: CellFormat | None = added(None)

    @classmethod
    def fit(
        cls,
        name: str,
        column: pl.Series,
        *,
        max_categories: int,
        min_frequency: int = 1,
        reading: Reading | None = None,
    ) -> Self:
        """Keep the `max_categories` most frequent values; of equals the first by name.

        A value of fewer than `min_frequency` rows is not kept.
        """
        values_are = stored_as(column.dtype)
        counts = column.drop_nulls().alias("value").value_counts(name="count")
        names = names_as(counts["value"], values_are).str.strip_chars()
        kept = (
            counts.select(names.alias("name"), "count")
            .filter(pl.col("name") != "")  # an empty cell is missing in a file
            .group_by("name")
            .agg(pl.col("count").sum())
            .filter(pl.col("count") >= min_frequency)
            .sort("count", "name", descending=[True, False])
            .head(max_categories)
        )
        return cls(
            name=name,
            stored_as=values_are,
            categories=tuple(kept["name"].sort()),
            format=_format(name, values_are, reading or Reading()),
        )

    @property
    def cardinality(self) -> int:
        """Return the number of codes, including the 0 of unknown values."""
        return len(self.categories) + 1

    def codes(
        self, column: pl.Series, *, missing: Collection[str] = FIRST_MISSING_WORDS
    ) -> NDArray[np.float64]:
        """Return the code of each value: (N). Raises DataError for dates with two readings.

        Text that was not seen in training is missing if it is one of the words `missing`.
        """
        if self.stored_as == "datetime":
            date = self.format if isinstance(self.format, DateFormat) else None
            column = parse_dates(column, date)
        elif isinstance(self.format, NumberFormat):
            column = plain_numbers(column, self.format)
        if self.stored_as == "text" and column.dtype == pl.String:
            return self._codes_of_text(column, missing).to_numpy()
        distinct = column.unique().drop_nulls()
        codes = self._codes_of_text(names_as(distinct, self.stored_as), missing)
        return replace_distinct(column, distinct, codes, default=0.0).to_numpy()

    def _codes_of_text(self, names: pl.Series, missing: Collection[str]) -> pl.Series:
        codes = self._code_of(names)
        if self.stored_as != "text" or not (unseen := (codes == 0) & names.is_not_null()).any():
            return codes
        distinct = names.filter(unseen).unique()
        text = without_missing(distinct, missing)
        spelt = self._code_of(text.str.strip_chars())
        spelt = spelt.set(spelt == 0, None).fill_null(self._code_of_spelt(spelt_names(text)))
        return codes.set(unseen, None).fill_null(
            replace_distinct(names, distinct, spelt, default=0.0)
        )

    @cached_property
    def _code_of(self) -> "_Codes":
        # Name them again: polars may write a number differently in its next version.
        categories = pl.Series(self.categories, dtype=pl.String)
        values = parse_dates(categories) if self.stored_as == "datetime" else categories
        return _Codes(names_as(values, self.stored_as))

    @cached_property
    def _code_of_spelt(self) -> "_Codes":
        return _Codes(spelt_names(pl.Series(self.categories, dtype=pl.String)))


def _format(name: str, stored_as: StoredAs, reading: Reading) -> CellFormat | None:
    """Return the format of the column's text, where its values are numbers or dates."""
    if stored_as == "datetime":
        return reading.date_format(name)
    return reading.number_format(name) if stored_as == "number" else None


class _Codes:
    """The code of the first category with a name; 0 for other names.

    A class rather than a pair of Series, because the attributes of a config are compared.
    """

    def __init__(self, names: pl.Series) -> None:
        codes = pl.Series("code", range(1, len(names) + 1), dtype=pl.Float64)
        table = pl.DataFrame([names.alias("name"), codes])
        table = table.drop_nulls().unique("name", keep="first", maintain_order=True)
        self._names, self._codes = table["name"], table["code"]

    def __call__(self, names: pl.Series) -> pl.Series:
        return replace_distinct(names, self._names, self._codes, default=0.0)


def names_as(values: pl.Series, stored_as: StoredAs) -> pl.Series:
    """Return the name of each value read as `stored_as`: String, null if it cannot be read."""
    if stored_as == "number":
        return _number_names(values)
    if stored_as == "boolean":
        return _number_names(values).replace_strict(_BOOLEANS, default=None, return_dtype=pl.String)
    if isinstance(values.dtype, pl.Datetime):
        return _date_names(values)
    if values.dtype == pl.Boolean:
        return names_as(values, "boolean")
    return values if values.dtype == pl.String else _number_names(values)


def spelt_names(text: pl.Series) -> pl.Series:
    """Return the name of the boolean, number or date that text spells, or else its words."""
    short = text.set(text.str.len_bytes() > _MAX_SPELT_BYTES, None)
    truth = names_as(parse_booleans(short), "boolean")
    spelt = truth.fill_null(_number_names(short)).fill_null(_date_names(parse_each_date(short)))
    return spelt.fill_null(text.str.strip_chars())


def _number_names(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Float64:
        return _float_names(values)
    whole = values.str.strip_chars() if values.dtype == pl.String else values
    if isinstance(values.dtype, pl.Datetime):
        return pl.repeat(None, len(values), dtype=pl.String, eager=True)
    # Whole numbers first: a Float64 cannot hold all of them.
    names = whole.cast(pl.Int64, strict=False).cast(pl.String)
    return names.fill_null(_float_names(parse_numbers(values.to_frame()).to_series()))


def _float_names(values: pl.Series) -> pl.Series:
    value = pl.col("value")
    is_whole = (value == value.floor()) & (value.abs() < INT64_BOUND)
    as_whole = value.cast(pl.Int64, strict=False).cast(pl.String)
    name = pl.when(is_whole).then(as_whole).when(value.is_finite()).then(value.cast(pl.String))
    return values.to_frame("value").select(name).to_series()


def _date_names(values: pl.Series) -> pl.Series:
    return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.f").str.strip_suffix("T00:00:00")
