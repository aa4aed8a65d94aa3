"""Read Parquet files of any dtypes."""

import json
from pathlib import Path
from typing import Literal, TypeGuard

import polars as pl

from dropout_core.data.readers.table import (
    Contents,
    check_num_cells,
    check_num_columns,
    named_parts,
    unique_names,
    write_as_stored,
)
from dropout_core.data.stored_types import LAST_NANOSECOND, as_given, lost_digits
from dropout_core.errors import DataError

SIGNATURE = b"PAR1"


def read_parquet(
    source: Path, target: Path, *, max_bytes: int, max_columns: int, keep_dtypes: bool = False
) -> Contents:
    """Rewrite a Parquet file. Raises DataError naming a column that a table cannot hold.

    With `keep_dtypes` the columns are checked and written with their own dtypes.

    The footer may claim any number of rows, so a table whose cells would take more than `max_bytes`
    is refused before it is read.
    """
    if source.stat().st_size < 3 * len(SIGNATURE):
        raise DataError("not a readable Parquet file: it ends within its header")
    table = pl.scan_parquet(source, glob=False, hive_partitioning=False)
    schema = table.collect_schema()
    check_num_columns(len(schema), max_columns)
    num_rows = table.select(pl.len()).collect().item()
    check_num_cells(num_rows, len(schema), max_bytes)
    names, warnings = unique_names(schema.names())
    if not keep_dtypes:
        warnings += [lost for part in named_parts(table, names) for lost in lost_digits(part)]
    if _exceeds_nanoseconds(table):
        for part in named_parts(_scan(source, schema, "ms"), names):
            as_given(part)  # microseconds may overflow too
        table = _scan(source, schema, "us")
    parts = named_parts(table, names)
    write_as_stored(parts, target, max_bytes=max_bytes, keep_dtypes=keep_dtypes)
    name_of = dict(zip(schema.names(), names, strict=True))
    index = [name_of[column] for column in _pandas_index(source) if column in name_of]
    return Contents(warnings=tuple(warnings), index=tuple(index))


def _pandas_index(source: Path) -> list[str]:
    """Return the columns of the file that were the index of a pandas frame."""
    try:
        described = json.loads(pl.read_parquet_metadata(source).get("pandas", "{}"))
        return [column for column in described["index_columns"] if isinstance(column, str)]
    except (ValueError, TypeError, KeyError, RecursionError):  # anything may be written there
        return []


def _is_in_nanoseconds(dtype: pl.DataType) -> TypeGuard[pl.Datetime]:
    return isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"


def _exceeds_nanoseconds(table: pl.LazyFrame) -> bool:
    """Return whether a date is beyond 2262, or so early that nanoseconds cannot count it.

    INT96, the timestamp of Spark and Impala, has such dates. polars reads them all as the last
    nanosecond.
    """
    dtypes = table.collect_schema().dtypes()
    is_last = [
        (pl.nth(index).to_physical() == LAST_NANOSECOND).any().alias(str(index))
        for index, dtype in enumerate(dtypes)
        if _is_in_nanoseconds(dtype)
    ]
    return bool(is_last) and any(table.select(is_last).collect().row(0))


def _scan(source: Path, schema: pl.Schema, unit: Literal["ms", "us"]) -> pl.LazyFrame:
    """Scan the file with timestamps of nanoseconds read in another unit."""
    dtypes = {
        name: pl.Datetime(unit, dtype.time_zone) if _is_in_nanoseconds(dtype) else dtype
        for name, dtype in schema.items()
    }
    cast = pl.ScanCastOptions(datetime_cast="nanosecond-downcast")
    return pl.scan_parquet(
        source, glob=False, hive_partitioning=False, schema=dtypes, cast_options=cast
    )
