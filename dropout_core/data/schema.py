"""What a frame's columns are."""

from typing import Any, Literal

import polars as pl

from dropout_core.config import Config

ColumnType = Literal["numeric", "boolean", "categorical"]


class Column(Config):
    """A column as it was found. `minimum`, `maximum` and `mean` are of numeric columns alone."""

    name: str
    type: ColumnType
    num_missing: int
    num_distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None

    @property
    def is_feature(self) -> bool:
        """Whether a network can take it as it is."""
        return self.type != "categorical" and self.num_missing == 0


def describe(frame: pl.DataFrame) -> list[Column]:
    """One Column for each of the frame's, in its order."""
    return [_describe(column) for column in frame]


def _describe(column: pl.Series) -> Column:
    facts: dict[str, Any] = {
        "name": column.name,
        "num_missing": column.null_count(),
        "num_distinct": column.drop_nulls().n_unique(),
    }
    if column.dtype == pl.Boolean:
        return Column(type="boolean", **facts)
    if not column.dtype.is_numeric():
        return Column(type="categorical", **facts)
    values = column.drop_nulls().cast(pl.Float64)
    if len(values):
        facts |= {"minimum": values.min(), "maximum": values.max(), "mean": values.mean()}
    return Column(type="numeric", **facts)
