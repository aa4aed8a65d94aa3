"""The stored table: the Parquet file that every upload becomes."""

import math
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.data.by_name import exactly
from dropout_core.data.formats import CellFormat
from dropout_core.data.stored_types import as_given, as_stored, unstorable, without_nan
from dropout_core.data.wide_tables import column_parts, column_ranges
from dropout_core.errors import DataError

AMBIGUOUS = re.compile(r"-?\d{1,3}\.\d{3}")
"""A number whose point could separate thousands in text, where another format has no doubt."""


@dataclass(frozen=True)
class Contents:
    """The result of reading a file besides its table: the options used, and warnings.

    `formats` say how the cells of columns were written, by name. `index` names columns that only
    number or name the rows, as the program that wrote the file says.
    """

    options: dict[str, Any] = field(default_factory=dict)
    formats: Mapping[str, CellFormat] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    num_rows: int = 0
    index: tuple[str, ...] = ()


COLUMNS_AT_ONCE = 1_000  # each takes up to 150 KB of memory while it is parsed or cast
MAX_CELL_BYTES = 1 << 20  # of text
_MAX_OTHER_BYTES = 1 << 26  # of columns that are kept though they cannot be stored
_MAX_NAME_CHARACTERS = 1_000
_MAX_WARNINGS = 100
_CELL_BYTES = 8


def write(table: pl.LazyFrame, target: Path) -> None:
    """Compute a table of stored types and write it, a part at a time."""
    # Threads of a sink that has failed may still write to its file: no other sink gets that file.
    part = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
    try:
        # Statistics help only readers that skip parts of a file.
        table.sink_parquet(part, compression="uncompressed", statistics=False)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_parts(parts: Iterable[pl.LazyFrame], target: Path) -> None:
    """Write tables of equally many rows side by side, each computed by itself to save memory."""
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as folder:
        paths = []
        for index, part in enumerate(parts):
            paths.append(Path(folder) / str(index))
            write(part, paths[-1])
        if len(paths) == 1:
            paths[0].replace(target)
        else:
            write(pl.concat(map(scan, paths), how="horizontal"), target)


def named_parts(table: pl.LazyFrame | pl.DataFrame, names: Sequence[str]) -> Iterator[pl.LazyFrame]:
    """Yield the table with these names, a part of its columns at a time."""
    for part in column_ranges(len(names), COLUMNS_AT_ONCE):
        if isinstance(table, pl.DataFrame):  # which is fast to slice
            columns = table[:, part.start : part.stop].lazy()
        else:
            columns = table.select(pl.nth(part))
        yield columns.select(pl.nth(i - part.start).alias(names[i]) for i in part)


def write_as_stored(
    parts: Iterable[pl.LazyFrame], target: Path, *, max_bytes: int, keep_dtypes: bool = False
) -> None:
    """Write tables of any dtypes side by side, their words without white space around them.

    With `keep_dtypes` check the values, and write them as they are.

    Raises DataError naming a column that cannot be stored, and if the text takes more than
    `max_bytes`: a dictionary repeats a long text at no cost.
    """
    num_bytes = 0
    num_other_bytes = 0.0

    def checked(part: pl.LazyFrame) -> pl.LazyFrame:
        nonlocal num_bytes, num_other_bytes
        part = as_given(part) if keep_dtypes else as_stored(part)
        for name in unstorable(part):
            column = part.select(exactly(name)).collect()
            num_other_bytes += column.estimated_size()
            if num_other_bytes > _MAX_OTHER_BYTES:
                raise DataError(
                    f"values of type {column.dtypes[0]} take more than {_MAX_OTHER_BYTES} bytes: "
                    "leave the column out",
                    column=name,
                )
        lengths = part.select(pl.col(pl.String).str.len_bytes().cast(pl.Int64).sum())
        if lengths.collect_schema():
            num_bytes += sum(lengths.collect(engine="streaming").row(0))
        if num_bytes > max_bytes:
            raise DataError(f"its text unpacks to more than the {max_bytes} bytes allowed")
        if keep_dtypes:
            return part
        return without_nan(part.with_columns(pl.col(pl.String).str.strip_chars()))

    write_parts(map(checked, parts), target)


def scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


def finish(path: Path, contents: Contents, *, keep_empty_columns: bool) -> Contents:
    """Check a stored table, and drop the columns without any value.

    Raises DataError if it has no rows or columns, a number is infinite, or a text too long.
    """
    table = scan(path)
    names = table.collect_schema().names()
    num_rows = table.select(pl.len()).collect().item() if names else 0
    if num_rows == 0:
        raise DataError("the file has no rows")
    num_missing = [num for part in column_parts(table) for num in _checked(part)]
    contents = replace(contents, num_rows=num_rows, warnings=_few(contents.warnings))
    empty = [index for index, missing in enumerate(num_missing) if missing == num_rows]
    if keep_empty_columns or not empty:
        return contents
    if len(empty) == len(names):
        raise DataError("all values are missing")
    kept = sorted(set(range(len(names))).difference(empty))
    write(table.select(pl.nth(kept)), path)
    dropped = [f"column {names[index]!r} has no values and is left out" for index in empty]
    return replace(contents, warnings=_few((*contents.warnings, *dropped)))


def _checked(table: pl.LazyFrame) -> list[int]:
    """Return how many values each column misses. Raises DataError for a value out of bounds."""
    schema = table.collect_schema()
    asked = [pl.nth(index).null_count().alias(f"missing {index}") for index in range(len(schema))]
    bounds = {
        index: pl.nth(index).is_infinite()
        if dtype == pl.Float64
        else pl.nth(index).str.len_bytes() > MAX_CELL_BYTES
        for index, dtype in enumerate(schema.dtypes())
        if dtype in (pl.Float64, pl.String)
    }
    asked += [is_beyond.any().alias(str(index)) for index, is_beyond in bounds.items()]
    answers = table.select(asked).collect(engine="streaming").row(0, named=True)
    beyond = next((index for index in bounds if answers[str(index)]), None)
    if beyond is not None:
        _refuse(table, beyond, bounds[beyond])
    return [answers[f"missing {index}"] for index in range(len(schema))]


def _refuse(table: pl.LazyFrame, index: int, is_beyond: pl.Expr) -> NoReturn:
    """Raise DataError for the first value of a column that is beyond its bounds."""
    value = pl.nth(index)
    name, dtype = list(table.collect_schema().items())[index]
    what = value.str.len_bytes() if dtype == pl.String else value
    row = table.select(
        pl.arg_where(is_beyond).first(), what.filter(is_beyond).first().alias("what")
    )
    position, found = row.collect(engine="streaming").row(0)
    detail = f"{found} is not a finite number: write NaN or null for a missing value"
    if dtype == pl.String:
        detail = f"the cell has {found} bytes, {MAX_CELL_BYTES} are allowed"
    raise DataError(detail, row=position + 1, column=name)


def _few(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first of the warnings, and how many more there are."""
    num_more = len(warnings) - _MAX_WARNINGS
    return (*warnings[:_MAX_WARNINGS], f"{num_more} more warnings") if num_more > 0 else warnings


def array_columns(name: str, array: NDArray[np.generic]) -> list[pl.Series]:
    """Return an (N) array as the column `name`; a larger one as `name_0` and so on, row by row."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 1:
        return [pl.Series(name, array)]
    matrix = np.ascontiguousarray(array.reshape(len(array), math.prod(array.shape[1:])).T)
    return [pl.Series(f"{name}_{index}", column) for index, column in enumerate(matrix)]


def check_num_columns(num_columns: int, max_columns: int) -> None:
    if num_columns > max_columns:
        raise DataError(f"{num_columns} columns, {max_columns} are allowed")


def check_num_cells(num_rows: int, num_columns: int, max_bytes: int) -> None:
    """Raise DataError if the cells, which a file may claim for nothing, take too many bytes."""
    if num_rows * num_columns * _CELL_BYTES > max_bytes:
        raise DataError(
            f"{num_rows} rows of {num_columns} columns unpack to more than the {max_bytes} bytes "
            "allowed"
        )


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a unique name for each column, and warnings about names that changed.

    Raises DataError for a name that is too long to be one.
    """
    given = [name.strip() for name in names]
    taken = set(given)
    seen: set[str] = set()
    last: dict[str, int] = {}  # the number in the newest name of each stem
    unique, warnings = [], []
    for index, name in enumerate(given, start=1):
        if len(name) > _MAX_NAME_CHARACTERS:
            raise DataError(
                f"the name of column {index} has {len(name)} characters, {_MAX_NAME_CHARACTERS} "
                "are allowed; if the first row has no names, say so with header=false"
            )
        if name and name not in seen:
            seen.add(name)
            unique.append(name)
            continue
        stem, number = (name, last.get(name, 1) + 1) if name else ("column", index)
        while (new := f"{stem}_{number}") in taken:
            number += 1
        last[stem] = number
        taken.add(new)
        unique.append(new)
        warnings.append(
            f"two columns were named {name!r}: column {index} is now {new!r}"
            if name
            else f"column {index} had no name: it is now {new!r}"
        )
    return unique, warnings


def unnamed_index(given: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the first columns if they had none and others had, as an index has."""
    named = (index for index, name in enumerate(given) if name.strip())
    return tuple(names[: next(named, 0)])
