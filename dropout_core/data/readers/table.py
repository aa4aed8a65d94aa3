"""The stored table: the Parquet file that every upload becomes."""

import math
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.errors import DataError


@dataclass(frozen=True)
class Contents:
    """The result of reading a file besides its table: the options used, and warnings.

    `index` names columns that only number or name the rows, as the program that wrote the file
    says.
    """

    options: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    num_rows: int = 0
    index: tuple[str, ...] = ()


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


def scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


def finish(path: Path, contents: Contents, *, keep_empty_columns: bool) -> Contents:
    """Check a stored table, and drop the columns without any value.

    Raises DataError if it has no rows or columns, or a number is infinite.
    """
    table = scan(path)
    schema = table.collect_schema()
    names, columns = schema.names(), range(len(schema))
    asked = [pl.len().alias("rows")]
    for index, dtype in enumerate(schema.dtypes()):
        asked.append(pl.nth(index).null_count().alias(f"missing {index}"))
        if dtype == pl.Float64:
            asked.append(pl.nth(index).is_infinite().any().alias(f"infinite {index}"))
    answers = table.select(asked).collect().row(0, named=True)
    num_rows = answers["rows"]
    if num_rows == 0 or not schema:
        raise DataError("the file has no rows")
    infinite = next((index for index in columns if answers.get(f"infinite {index}")), None)
    if infinite is not None:
        _refuse_infinity(table, infinite, names[infinite])
    contents = replace(contents, num_rows=num_rows)
    kept = [index for index in columns if answers[f"missing {index}"] < num_rows]
    if keep_empty_columns or len(kept) == len(schema):
        return contents
    if not kept:
        raise DataError("all values are missing")
    write(table.select(pl.nth(kept)), path)
    dropped = tuple(
        f"column {names[index]!r} has no values and is left out"
        for index in columns
        if index not in set(kept)
    )
    return replace(contents, warnings=contents.warnings + dropped)


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


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a unique name for each column, and a warning for each name that changed."""
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


def unnamed_index(given: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the name of a first column that had none among others that had, as an index has."""
    is_index = bool(given) and not given[0].strip() and any(name.strip() for name in given)
    return tuple(names[:1]) if is_index else ()


def _new_name(name: str, index: int, taken: set[str]) -> str:
    stem, number = (name, 2) if name else ("column", index)
    while (new := f"{stem}_{number}") in taken:
        number += 1
    return new
