"""What a frame's columns are, and which of them a job can use how. Free of torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from dropout_core.config import Config, Task
from dropout_core.data.errors import DataError

MAX_INTEGER_CLASSES = 50
MAX_CLASSES = 10_000

ColumnType = Literal["numeric", "boolean", "categorical"]


class Column(Config):
    """A column as it was found. `minimum`, `maximum` and `mean` are of numeric columns alone."""

    name: str
    type: ColumnType
    integral: bool
    num_missing: int
    num_distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None


@dataclass(frozen=True)
class Selection:
    """The columns of a task, each known to be usable."""

    target: str
    features: tuple[str, ...]
    task: Task


def describe(frame: pl.DataFrame) -> list[Column]:
    """One Column for each of the frame's, in its order."""
    return [_describe(column) for column in frame]


def select(
    columns: Sequence[Column],
    *,
    target: str,
    features: Sequence[str] | None = None,
    task: Task | None = None,
) -> Selection:
    """Settle what is learnt from what.

    Features of None are all columns but the target that a network can take as they are; a task of
    None follows from the target: words, booleans and a few whole numbers are classes, other
    numbers a regression. Raises DataError naming the column and the field at fault.
    """
    by_name = {column.name: column for column in columns}
    if target not in by_name:
        raise DataError("the data has no such column", column=target, field="target")
    if features is None:
        features = [c.name for c in columns if c.name != target and _why_no_feature(c) is None]
        if not features:
            raise DataError("no other column is numeric without missing values", field="features")
    seen: set[str] = set()
    for name in features:
        if name not in by_name:
            raise DataError("the data has no such column", column=name, field="features")
        if name == target:
            raise DataError("the target cannot be a feature", column=name, field="features")
        if name in seen:
            raise DataError("the feature is listed twice", column=name, field="features")
        seen.add(name)
        if reason := _why_no_feature(by_name[name]):
            raise DataError(reason, column=name, field="features")
    return Selection(target, tuple(features), _settle_task(by_name[target], task))


def _why_no_feature(column: Column) -> str | None:
    if column.type == "categorical":
        return "a feature has to be numeric or boolean"
    if column.num_missing:
        return f"{column.num_missing} values are missing"
    return None


def _settle_task(target: Column, task: Task | None) -> Task:
    if target.num_missing:
        raise DataError(
            f"{target.num_missing} values are missing", column=target.name, field="target"
        )
    if task is None:
        whole_classes = target.integral and target.num_distinct <= MAX_INTEGER_CLASSES
        if target.type == "numeric" and not whole_classes:
            task = "regression"
        else:
            task = "binary" if target.num_distinct == 2 else "multiclass"
    if task == "regression" and target.type != "numeric":
        raise DataError("a regression needs a numeric target", column=target.name, field="target")
    if task != "regression" and not 2 <= target.num_distinct <= MAX_CLASSES:
        raise DataError(
            f"{target.num_distinct} distinct values, classes need 2 to {MAX_CLASSES}",
            column=target.name,
            field="target",
        )
    if task == "binary" and target.num_distinct != 2:
        raise DataError(
            f"a binary target has 2 classes, this one has {target.num_distinct}",
            column=target.name,
            field="target",
        )
    return task


def _describe(column: pl.Series) -> Column:
    facts: dict[str, Any] = {
        "name": column.name,
        "integral": column.dtype.is_integer(),
        "num_missing": column.null_count(),
        "num_distinct": column.drop_nulls().n_unique(),
    }
    if column.dtype == pl.Boolean:
        return Column(type="boolean", **facts)
    if not column.dtype.is_numeric():
        return Column(type="categorical", **facts)
    values = column.drop_nulls().cast(pl.Float64)
    if len(values):
        facts |= {"minimum": values.min(), "maximum": values.max(), "mean": _mean(values)}
    return Column(type="numeric", **facts)


def _mean(values: pl.Series) -> float:
    mean = float(values.mean())  # type: ignore[arg-type]
    # The sum of the largest numbers is infinite where their mean is not.
    return mean if math.isfinite(mean) else float((values / len(values)).sum())
