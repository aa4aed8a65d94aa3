"""The types of features, and the columns of numbers that each becomes."""

import zlib
from typing import Annotated, Literal, Self, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from dropout_core.config import Config, Count, added
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.formats import DateFormat, NumberFormat
from dropout_core.data.parsing import replace_distinct
from dropout_core.data.stored_types import StoredAs

DatePart = Literal["days", "year", "month", "day", "weekday", "hour", "minute"]

DATE_PARTS: tuple[DatePart, ...] = get_args(DatePart)

_MICROSECONDS_A_DAY = 86_400_000_000
_WORD = r"\w+"


class NumericFeature(Config):
    """A number: one column.

    - `may_be_missing`: whether a value was missing in training.
    - `format`: how the column's text is written; None is the usual 1234.5.
    - `is_lenient`: whether text that is no number is missing, as it was in the table.
    """

    type: Literal["numeric"] = "numeric"
    name: str
    may_be_missing: bool
    format: NumberFormat | None = added(None)
    is_lenient: bool = added(False)


class BooleanFeature(Config):
    """False and true: one column of 0 and 1. `is_lenient` is as for numbers."""

    type: Literal["boolean"] = "boolean"
    name: str
    may_be_missing: bool
    is_lenient: bool = added(False)


class DatetimeFeature(Config):
    """A date and time in UTC: a column for each of `parts`.

    `days` counts since 1970, with a fraction; `weekday` from Monday, 1, to Sunday, 7. `format` and
    `is_lenient` are as for numbers; without a format see `dates.parse_dates`.
    """

    type: Literal["datetime"] = "datetime"
    name: str
    may_be_missing: bool
    parts: tuple[DatePart, ...]
    format: DateFormat | None = added(None)
    is_lenient: bool = added(False)

    @classmethod
    def fit(
        cls, name: str, column: pl.Series, *, format_: DateFormat | None, is_lenient: bool
    ) -> Self:
        """Keep `days`, and the parts that vary."""
        seen = column.drop_nulls()
        values = {part: _part(seen, part) for part in DATE_PARTS[1:]}
        varying = (part for part, of_part in values.items() if (of_part != of_part[:1]).any())
        return cls(
            name=name,
            may_be_missing=column.null_count() > 0,
            parts=("days", *varying),
            format=format_,
            is_lenient=is_lenient,
        )

    def values(self, column: pl.Series) -> list[NDArray[np.float64]]:
        """Return the parts of Datetime values: one (N) each, NaN for missing."""
        return [_part(column, part) for part in self.parts]


def _part(column: pl.Series, part: DatePart) -> NDArray[np.float64]:
    if part == "days":
        # NumPy divides exactly; polars, by a constant, may be off by one unit in the last place.
        return column.dt.timestamp("us").cast(pl.Float64).to_numpy() / _MICROSECONDS_A_DAY
    values: pl.Series = getattr(column.dt, part)()
    return values.cast(pl.Float64).to_numpy()


class TextFeature(Config):
    """Prose: the count of each word, hashed into one of `num_buckets` columns.

    A row has the L2 norm 1, or 0 if it has no word. Words are runs of letters, digits and
    underscores, lower-cased; the bucket is the word's CRC-32 modulo `num_buckets`, on every machine
    and in every version. Weinberger et al. 2009, without the sign.
    """

    type: Literal["text"] = "text"
    name: str
    num_buckets: Count

    def values(self, column: pl.Series) -> NDArray[np.float64]:
        """Return the counts of String values: (N, num_buckets). Missing text has no words."""
        words = (
            column.to_frame("word")
            .with_row_index("row")
            .select("row", pl.col("word").str.to_lowercase().str.extract_all(_WORD))
            .explode("word")
            .drop_nulls()
        )
        distinct = words["word"].unique()
        buckets = pl.Series(
            [zlib.crc32(word.encode()) % self.num_buckets for word in distinct], dtype=pl.Int64
        )
        bucket = replace_distinct(words["word"], distinct, buckets, default=0).to_numpy()
        cells = words["row"].to_numpy().astype(np.int64) * self.num_buckets + bucket
        counts = np.bincount(cells, minlength=len(column) * self.num_buckets)
        values = counts.reshape(len(column), self.num_buckets).astype(np.float64)
        norms = np.sqrt((values**2).sum(axis=1, keepdims=True))  # of whole numbers: exact sums
        return values / np.where(norms > 0, norms, 1.0)


Feature = Annotated[
    NumericFeature | BooleanFeature | DatetimeFeature | CategoricalFeature | TextFeature,
    Field(discriminator="type"),
]


def value_names(feature: Feature) -> list[str]:
    """Return the names of the feature's value columns: none for categories, which have codes."""
    match feature:
        case DatetimeFeature():
            return [f"{feature.name}.{part}" for part in feature.parts]
        case TextFeature():
            return [f"{feature.name}.words_{bucket}" for bucket in range(feature.num_buckets)]
        case CategoricalFeature():
            return []
    return [feature.name]


def values_of(feature: Feature) -> StoredAs:
    """Return what the values of the feature's column are, also where they are categories."""
    match feature:
        case NumericFeature():
            return "number"
        case BooleanFeature():
            return "boolean"
        case DatetimeFeature():
            return "datetime"
        case TextFeature():
            return "text"
    return feature.stored_as
