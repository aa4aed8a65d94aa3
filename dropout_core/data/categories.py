"""Categories: what a training column's values are called, and the code of each."""

from functools import cached_property
from typing import Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.config import Config
from dropout_core.data.cells import dates, replace
from dropout_core.data.names import Kind, kind_of, names_as, spelt_names


class CategoricalFeature(Config):
    """A feature of `categories`, sorted; their codes are 1, 2, ...; 0 is missing or never seen.

    A category is called by its value as text. `stored_as` says what the values were in training;
    a value is read as that before it is looked up, so that 3, 3.0, "3" and "3e0" are one category
    of numbers. Text is looked up as it is and, if training saw none such, without white space
    around it by the number, the truth value, the date or the words that it spells: the first
    category that spells the same is meant.
    """

    type: Literal["categorical"] = "categorical"
    name: str
    stored_as: Kind
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, column: pl.Series, *, max_categories: int) -> Self:
        """Keep the `max_categories` most frequent, of equally frequent ones the first by name."""
        kind = kind_of(column.dtype)
        counts = column.drop_nulls().alias("value").value_counts(name="count")
        names = names_as(counts["value"], kind)
        kept = (
            counts.select(names.alias("name"), "count")
            .drop_nulls()
            .group_by("name")
            .agg(pl.col("count").sum())
            .sort("count", "name", descending=[True, False])
            .head(max_categories)
        )
        return cls(name=column.name, stored_as=kind, categories=tuple(kept["name"].sort()))

    @property
    def cardinality(self) -> int:
        """Codes, the one of the unknown among them."""
        return len(self.categories) + 1

    def codes(self, column: pl.Series) -> NDArray[np.float64]:
        """The code of each value: (N). Raises DataError for dates that can be read in two ways."""
        if self.stored_as == "datetime":
            column = dates(column)
        if self.stored_as == "text" and column.dtype == pl.String:
            return self._codes_of_text(column).to_numpy()
        distinct = column.unique().drop_nulls()
        codes = self._codes_of_text(names_as(distinct, self.stored_as))
        return replace(column, distinct, codes, default=0.0).to_numpy()

    def _codes_of_text(self, names: pl.Series) -> pl.Series:
        codes = self._code_of(names)
        if self.stored_as != "text" or not (unseen := (codes == 0) & names.is_not_null()).any():
            return codes
        distinct = names.filter(unseen).unique()
        spelt = self._code_of_spelt(spelt_names(distinct))
        return codes.set(unseen, None).fill_null(replace(names, distinct, spelt, default=0.0))

    @cached_property
    def _code_of(self) -> "_Codes":
        # Named anew: how a number is written may change from one polars to the next.
        categories = pl.Series(self.categories, dtype=pl.String)
        values = dates(categories) if self.stored_as == "datetime" else categories
        return _Codes(names_as(values, self.stored_as))

    @cached_property
    def _code_of_spelt(self) -> "_Codes":
        return _Codes(spelt_names(pl.Series(self.categories, dtype=pl.String)))


class _Codes:
    """The codes of names: of each the first that has it, 0 of others.

    An object and no pair of Series, which cannot be compared as a config's attributes are.
    """

    def __init__(self, names: pl.Series) -> None:
        codes = pl.Series("code", range(1, len(names) + 1), dtype=pl.Float64)
        table = pl.DataFrame([names.alias("name"), codes])
        table = table.drop_nulls().unique("name", keep="first", maintain_order=True)
        self._names, self._codes = table["name"], table["code"]

    def __call__(self, names: pl.Series) -> pl.Series:
        return replace(names, self._names, self._codes, default=0.0)
