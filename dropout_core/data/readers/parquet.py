"""Read Parquet files of any dtypes."""

from pathlib import Path

import polars as pl

from dropout_core.data.readers.table import (
    Contents,
    check_num_columns,
    unique_names,
    write_as_stored,
)
from dropout_core.errors import DataError

SIGNATURE = b"PAR1"
_CELL_BYTES = 8


def read_parquet(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> Contents:
    """Rewrite a Parquet file. Raises DataError naming a column that a table cannot hold.

    The footer may claim any number of rows, so a table whose cells would take more than `max_bytes`
    is refused before it is read.
    """
    if source.stat().st_size < 3 * len(SIGNATURE):
        raise DataError("not a readable Parquet file: it ends within its header")
    table = pl.scan_parquet(source, glob=False, hive_partitioning=False)
    schema = table.collect_schema()
    check_num_columns(len(schema), max_columns)
    num_rows = table.select(pl.len()).collect().item()
    if num_rows * len(schema) * _CELL_BYTES > max_bytes:
        raise DataError(
            f"{num_rows} rows of {len(schema)} columns unpack to more than the {max_bytes} bytes "
            "allowed"
        )
    names, warnings = unique_names(schema.names())
    write_as_stored(table, names, target, max_bytes=max_bytes)
    return Contents(warnings=tuple(warnings))
