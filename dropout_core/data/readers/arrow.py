"""Read Arrow IPC: files, which Feather is another name of, and streams."""

from pathlib import Path

import polars as pl

from dropout_core.data.readers.table import (
    Contents,
    check_num_cells,
    check_num_columns,
    named_parts,
    unique_names,
    write_as_stored,
)
from dropout_core.data.stored_types import lost_digits
from dropout_core.errors import DataError

FILE_SIGNATURE = b"ARROW1"
STREAM_SIGNATURE = b"\xff\xff\xff\xff"


def read_arrow(
    source: Path, target: Path, *, max_bytes: int, max_columns: int, keep_dtypes: bool = False
) -> Contents:
    """Rewrite an Arrow file or stream, within the bounds of a Parquet file. Raises DataError."""
    with source.open("rb") as file:
        is_stream = file.read(len(STREAM_SIGNATURE)) == STREAM_SIGNATURE
    try:
        table = pl.read_ipc_stream(source).lazy() if is_stream else pl.scan_ipc(source, glob=False)
        schema = table.collect_schema()
    except OSError as error:  # of a file that is too short
        raise DataError("not a readable Arrow file: it is damaged") from error
    check_num_columns(len(schema), max_columns)
    num_rows = table.select(pl.len()).collect().item()
    check_num_cells(num_rows, len(schema), max_bytes)
    names, warnings = unique_names(schema.names())
    if not keep_dtypes:
        warnings += [lost for part in named_parts(table, names) for lost in lost_digits(part)]
    parts = named_parts(table, names)
    write_as_stored(parts, target, max_bytes=max_bytes, keep_dtypes=keep_dtypes)
    return Contents(warnings=tuple(warnings))
