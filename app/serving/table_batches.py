"""A stored table, read so many rows at a time as can be predicted in bounded memory."""

from collections.abc import Iterator

import polars as pl

from dropout_core.model.predictor import MAX_CELLS, Predictor

MAX_BATCH_ROWS = 65_536
_MAX_BATCH_BYTES = 64 * 2**20  # of text

# A batch costs something of its own, which a wide table would pay for every few rows.
_WIDE_BATCH_ROWS = 1_000
_MAX_WIDE_BATCH_CELLS = 10_000_000


def batches(
    predictor: Predictor, table: pl.LazyFrame, *, num_rows: int
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The table's `num_rows` rows in order: how many come before each batch, and the batch."""
    size = batch_rows(predictor, table, num_rows=num_rows)
    for start in range(0, num_rows, size):
        yield start, table.slice(start, size).collect()


def batch_rows(predictor: Predictor, table: pl.LazyFrame, *, num_rows: int) -> int:
    """How many of the table's `num_rows` rows to hold, with their outputs, at a time."""
    schema = table.collect_schema()
    num_columns = len(schema) + predictor.description.num_outputs
    wide_rows = min(_WIDE_BATCH_ROWS, _MAX_WIDE_BATCH_CELLS // num_columns)
    by_cells = max(MAX_CELLS // num_columns, wide_rows)
    by_bytes = _MAX_BATCH_BYTES * num_rows // max(1, _text_bytes(table))
    return max(1, min(MAX_BATCH_ROWS, by_cells, by_bytes))


def _text_bytes(table: pl.LazyFrame) -> int:
    of_columns = pl.col(pl.String).str.len_bytes().cast(pl.Int64).sum()
    return sum(column.item() for column in table.select(of_columns).collect(engine="streaming"))
