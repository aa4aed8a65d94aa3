"""The stored table: the Parquet file that every upload becomes, in a few types of ours alone."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from dropout_core.errors import DataError


@dataclass(frozen=True)
class Contents:
    """What is to be known of a file besides its table: its settled options, and what is odd."""

    options: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    num_rows: int = 0


def write(table: pl.LazyFrame, target: Path) -> None:
    """Compute a table and write it, a part at a time. Its columns have the stored types."""
    # Threads of a sink that has failed may still write to its file: no other sink gets that file.
    part = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
    try:
        # Statistics are for readers that skip parts of a file, which none of ours does.
        table.sink_parquet(part, compression="uncompressed", statistics=False)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


def as_stored(table: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    """Cast every column to its stored type. Raises DataError naming one that has none."""
    return table.select(
        _cast(index, name, dtype) for index, (name, dtype) in enumerate(schema.items())
    )


def _cast(index: int, name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.nth(index)
    if dtype in (pl.Boolean, pl.String):
        return column
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_numeric():
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
        return utc.dt.replace_time_zone(None).dt.cast_time_unit("us")
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if dtype == pl.Null:
        return column.cast(pl.Boolean)
    raise DataError(f"values of type {dtype} are not supported", column=name)


def finish(path: Path, contents: Contents, *, keep_empty_columns: bool) -> Contents:
    """Hold a stored table to what is promised of it; drop the columns without any value.

    Raises DataError if it has no rows or columns, or a number is infinite.
    """
    table = scan(path)
    schema = table.collect_schema()
    facts = _facts(table, schema)
    contents = replace(contents, num_rows=facts.num_rows)
    if facts.num_rows == 0 or not schema:
        raise DataError("the file has no rows")
    if facts.infinite is not None:
        _refuse_infinity(table, facts.infinite, schema.names()[facts.infinite])
    if keep_empty_columns or not facts.empty:
        return contents
    if len(facts.empty) == len(schema):
        raise DataError("all values are missing")
    kept = [index for index in range(len(schema)) if index not in facts.empty]
    rest = path.with_name(f"{path.name}-rest")
    write(table.select(pl.nth(kept)), rest)
    rest.replace(path)
    dropped = tuple(
        f"column {schema.names()[index]!r} has no values and is left out" for index in facts.empty
    )
    return replace(contents, warnings=contents.warnings + dropped)


@dataclass(frozen=True)
class _Facts:
    num_rows: int
    empty: Sequence[int]
    infinite: int | None  # the first column with an infinite number


def _facts(table: pl.LazyFrame, schema: pl.Schema) -> _Facts:
    asked = [pl.len().alias("rows")]
    for index, dtype in enumerate(schema.dtypes()):
        asked.append(pl.nth(index).null_count().alias(f"missing {index}"))
        if dtype == pl.Float64:
            asked.append(pl.nth(index).is_infinite().any().alias(f"infinite {index}"))
    answers = table.select(asked).collect().row(0, named=True)
    num_rows = answers["rows"]
    columns = range(len(schema))
    return _Facts(
        num_rows=num_rows,
        empty=[index for index in columns if answers[f"missing {index}"] == num_rows],
        infinite=next((index for index in columns if answers.get(f"infinite {index}")), None),
    )


def _refuse_infinity(table: pl.LazyFrame, index: int, name: str) -> None:
    infinite = (
        table.select(number=pl.nth(index))
        .with_row_index("row", offset=1)
        .filter(pl.col("number").is_infinite())
        .first()
        .collect()
    )
    row, number = infinite.row(0)
    raise DataError(f"{number} is not a finite number", row=row, column=name)


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Name what has no name and tell apart what has the same; the names, and a warning for each."""
    given = [name.strip() for name in names]
    taken = set(given)
    seen: set[str] = set()
    unique, warnings = [], []
    for index, name in enumerate(given, start=1):
        if name and name not in seen:
            seen.add(name)
            unique.append(name)
            continue
        new = _new_name(name, index, taken)
        taken.add(new)
        unique.append(new)
        warnings.append(
            f"two columns were named {name!r}: column {index} is now {new!r}"
            if name
            else f"column {index} had no name: it is now {new!r}"
        )
    return unique, warnings


def _new_name(name: str, index: int, taken: set[str]) -> str:
    stem, number = (name, 2) if name else ("column", index)
    while (new := f"{stem}_{number}") in taken:
        number += 1
    return new
