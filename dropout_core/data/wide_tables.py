"""Work on tables of many columns a few columns at a time, in linear time.

polars takes more than linear time to plan for many expressions, and the plan of a query costs time
for each column of its source, whether the query uses it or not.
"""

from collections.abc import Iterator

import polars as pl

_COLUMNS_AT_ONCE = 100
_CELLS_HELD = 1 << 22  # in memory at a time


def column_parts(table: pl.LazyFrame) -> Iterator[pl.LazyFrame]:
    """Yield tables of up to 100 columns each that side by side are the whole table.

    Columns of few rows are read into memory many at a time, so that the source is planned for
    seldom; longer columns are left to be streamed.
    """
    num_columns = len(table.collect_schema())
    if num_columns <= _COLUMNS_AT_ONCE:
        yield table
        return
    num_rows = table.select(pl.len()).collect().item()
    num_held = _CELLS_HELD // max(1, num_rows)
    for part in column_ranges(num_columns, max(_COLUMNS_AT_ONCE, num_held)):
        columns = table.select(pl.nth(part))
        if num_held <= _COLUMNS_AT_ONCE:
            yield columns
            continue
        held = columns.collect()
        for narrow in column_ranges(held.width, _COLUMNS_AT_ONCE):
            yield held[:, narrow.start : narrow.stop].lazy()


def column_ranges(num_columns: int, num_at_once: int) -> Iterator[range]:
    """Yield the indices of all columns, `num_at_once` at a time."""
    for start in range(0, num_columns, num_at_once):
        yield range(start, min(start + num_at_once, num_columns))
