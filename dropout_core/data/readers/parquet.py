"""Read Parquet files of any dtypes."""

from pathlib import Path

import polars as pl

from dropout_core.data.readers.table import Contents, check_num_columns, unique_names, write
from dropout_core.data.stored_types import as_stored, without_nan
from dropout_core.errors import DataError

SIGNATURE = b"PAR1"
_CELL_BYTES = 8


def read_parquet(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> Contents:
    """Rewrite a Parquet file. Raises DataError naming a column that a table cannot hold.

    The footer may claim any number of rows, so a table whose cells would take more than `max_bytes`
    is refused before it is read. So is one whose text would: a dictionary repeats a long text at
    no cost.
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
    stored = as_stored(table.select(pl.nth(i).alias(name) for i, name in enumerate(names)))
    _refuse_much_text(stored, max_bytes)
    write(without_nan(stored), target)
    return Contents(warnings=tuple(warnings))


def _refuse_much_text(stored: pl.LazyFrame, max_bytes: int) -> None:
    lengths = stored.select(pl.col(pl.String).str.len_bytes().cast(pl.Int64).sum())
    if not lengths.collect_schema():
        return
    num_bytes = sum(lengths.collect(engine="streaming").row(0))
    if num_bytes > max_bytes:
        raise DataError(
            f"its text unpacks to {num_bytes} bytes, more than the {max_bytes} bytes allowed"
        )
