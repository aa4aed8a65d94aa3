"""Columns by the names that people gave them.

polars takes names for patterns: `*` is every column, `^size$` an expression, also as the name of a
Series whose methods are called. So a name goes to polars through these functions alone.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import polars as pl
from polars import selectors

from dropout_core.errors import DataError


def exactly(*names: str) -> selectors.Selector:
    """Select the columns with these names, in this order."""
    return selectors.by_name(*names)


def existing(columns: Collection[str], names: Sequence[str]) -> list[str]:
    """Return the names. Raises DataError if one is not among the columns."""
    known = set(columns)
    for name in names:
        if name not in known:
            raise DataError("the data has no such column", column=name)
    return list(names)


@contextmanager
def numbered(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the columns with these names, called "0", "1" and so on.

    A DataError of the block gets the column's own name. Raises DataError if a column is not there.
    """
    existing(frame.columns, names)
    columns = dict(zip(frame.columns, frame.get_columns(), strict=True))
    with naming(names):
        yield pl.DataFrame([columns[name].alias(str(index)) for index, name in enumerate(names)])


@contextmanager
def naming(names: Sequence[str]) -> Iterator[None]:
    """Give a DataError of the block, whose column is an index in `names`, the column's name."""
    try:
        yield
    except DataError as error:
        if error.column is None:
            raise
        name = names[int(error.column)]
        raise DataError(error.message, row=error.row, column=name, field=error.field) from error
