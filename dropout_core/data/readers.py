"""Files -> polars frames of numeric, boolean and text columns. Raises DataError, keeps nothing."""

import csv
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from dropout_core.data.errors import DataError

Format = Literal["csv", "npz"]

_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any


def detect_format(path: Path) -> Format:
    """Tell a file's format by its first bytes: a name promises nothing."""
    with path.open("rb") as file:
        return "npz" if file.read(4) in _ZIP_SIGNATURES else "csv"


def read(path: Path, *, max_bytes: int) -> pl.DataFrame:
    """Read a CSV or NPZ file. `max_bytes` bounds what a compressed file may unpack to."""
    if path.stat().st_size == 0:
        raise DataError("the file is empty")
    if detect_format(path) == "npz":
        return _checked(_read_npz(path, max_bytes=max_bytes))
    return _checked(_read_csv(path))


def _read_csv(path: Path) -> pl.DataFrame:
    blank_lines = _check_csv_shape(path)
    try:
        frame = pl.read_csv(path, infer_schema_length=None, null_values=[""])
    except PolarsError as error:
        raise DataError(f"not a readable CSV: {str(error).splitlines()[0]}") from error
    if blank_lines:  # rows of nulls to polars
        frame = frame.filter(~pl.int_range(pl.len()).is_in(blank_lines))
    return frame.with_columns(_misread_numbers(frame))


def _check_csv_shape(path: Path) -> list[int]:
    """Refuse what polars would fill up or cut; return which lines after the header are blank."""
    row: int | None = None
    blank_lines = []
    try:
        with path.open(newline="\n", encoding="utf-8-sig") as file:
            records = csv.reader(_text_lines(file), strict=True)
            header = next(records, [])
            if not header:
                raise DataError("the first line is blank, not a header")
            _check_names(header)
            row = 1
            for index, fields in enumerate(records):
                if not fields:
                    blank_lines.append(index)
                elif len(fields) != len(header):
                    raise DataError(
                        f"{len(fields)} fields where the header has {len(header)}", row=row
                    )
                else:
                    row += 1
            if row == 1:
                raise DataError("the file has a header and no rows")
    except UnicodeDecodeError as error:
        raise DataError("the file is binary or not UTF-8 text") from error
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]  # what follows is advice to programmers
        raise DataError(f"not a readable CSV: {reason}", row=row) from error
    return blank_lines


def _text_lines(file: Iterable[str]) -> Iterator[str]:
    for line in file:
        if "\0" in line:
            raise DataError("the file is binary or not UTF-8 text")
        yield line


def _misread_numbers(frame: pl.DataFrame) -> list[pl.Series]:
    """Columns that polars takes for words because a cell is `nan` or `Infinity`, as numbers."""
    words = frame.select(pl.col(pl.String))
    numbers = words.cast(pl.Float64, strict=False)
    return [
        column
        for column in numbers
        if column.null_count() == words[column.name].null_count() < len(column)
    ]


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name.strip():
            raise DataError(f"column {index + 1} has no name")
        if name in seen:
            raise DataError("two columns have this name", column=name)
        seen.add(name)


def _read_npz(path: Path, *, max_bytes: int) -> pl.DataFrame:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max_bytes:
            raise DataError(f"the file unpacks to {unpacked} bytes, {max_bytes} are allowed")
        with np.load(path, allow_pickle=False) as arrays:
            columns = [column for name in arrays.files for column in _columns(name, arrays[name])]
    except DataError:
        raise
    except Exception as error:  # zipfile, its decompressors and numpy each raise their own
        if "allow_pickle" in str(error):
            raise DataError("object arrays and pickles are refused; save plain numbers") from error
        raise DataError(f"not a readable NPZ: {error}") from error
    if not columns:
        raise DataError("the file has no rows")
    _check_names([column.name for column in columns])
    lengths = {column.name: len(column) for column in columns}
    if len(set(lengths.values())) > 1:
        shortest, longest = (
            min(lengths, key=lengths.__getitem__),
            max(lengths, key=lengths.__getitem__),
        )
        raise DataError(
            f"arrays differ in length: {shortest!r} has {lengths[shortest]} rows, "
            f"{longest!r} has {lengths[longest]}"
        )
    return pl.DataFrame(columns)


def _columns(name: str, array: NDArray[np.generic] | bytes) -> list[pl.Series]:
    """A vector is a column; a matrix, or a stack of images, is one column an element of a row."""
    if isinstance(array, bytes):  # what numpy makes of a member that is no array
        raise DataError("not an array", column=name)
    if array.ndim == 0:
        raise DataError("a single value is not a column", column=name)
    kind, size_bytes = array.dtype.kind, array.dtype.itemsize
    if kind not in "biufU" or size_bytes == 0 or (kind == "f" and size_bytes > 8):
        raise DataError(f"values of type {array.dtype} are not supported", column=name)
    if len(array) == 0:
        raise DataError("the file has no rows", column=name)
    if kind == "U" and not _is_text(array):
        raise DataError("not all of it is text", column=name)
    if array.ndim == 1:
        return [pl.Series(name, array)]
    matrix = array.reshape(len(array), -1)
    return [pl.Series(f"{name}_{index}", matrix[:, index]) for index in range(matrix.shape[1])]


def _is_text(array: NDArray[np.generic]) -> bool:
    """Whether all characters exist, and none is NUL: numpy and polars would believe anything."""
    codes = np.array(array, array.dtype.newbyteorder("="), order="C").view(np.uint32)
    codes = codes.reshape(-1, array.dtype.itemsize // 4)
    has_nul = (codes[:, :-1] == 0) & (codes[:, 1:] != 0)  # after the last character all are
    return bool((codes <= sys.maxunicode).all()) and not has_nul.any()


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Widen numbers to what is kept, refuse NaN and Infinity, ask for a numeric column."""
    casts: dict[str, pl.DataType] = {
        column.name: pl.Int64() if column.dtype.is_integer() else pl.Float64()
        for column in frame
        if column.dtype.is_numeric()
    }
    try:
        frame = frame.cast(casts)  # type: ignore[arg-type]
    except PolarsError as error:
        raise DataError("an integer is larger than 64 bits") from error
    for column in frame.select(pl.col(pl.Float64)):
        finite = column.is_finite().fill_null(True)
        if not finite.all():
            row = int((~finite).arg_max() or 0)
            raise DataError(
                f"{column[row]} is not a finite number", row=row + 1, column=column.name
            )
    if not any(dtype.is_numeric() or dtype == pl.Boolean for dtype in frame.dtypes):
        raise DataError("the file has no numeric column")
    return frame
