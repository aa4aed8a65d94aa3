"""Files -> polars frames of numeric, boolean and text columns. Raises DataError, keeps nothing."""

import csv
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from dropout_core.data.errors import DataError

Format = Literal["csv", "npz"]

_ZIP_SIGNATURE = b"PK"


def detect_format(path: Path) -> Format:
    """Tell a file's format by its first bytes: a name promises nothing."""
    with path.open("rb") as file:
        return "npz" if file.read(2) == _ZIP_SIGNATURE else "csv"


def read(path: Path, *, max_bytes: int) -> pl.DataFrame:
    """Read a CSV or NPZ file. `max_bytes` bounds what a compressed file may unpack to."""
    if path.stat().st_size == 0:
        raise DataError("the file is empty")
    if detect_format(path) == "npz":
        return _checked(_read_npz(path, max_bytes=max_bytes))
    return _checked(_read_csv(path))


def _read_csv(path: Path) -> pl.DataFrame:
    _check_csv_shape(path)
    try:
        return pl.read_csv(path, infer_schema_length=None, null_values=[""])
    except PolarsError as error:
        raise DataError(f"not a readable CSV: {str(error).splitlines()[0]}") from error


def _check_csv_shape(path: Path) -> None:
    """Polars fills short rows with nulls, so the shape is checked before it reads."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            _check_header(header)
            num_rows = 0
            for fields in rows:
                num_rows += 1
                if len(fields) != len(header) and fields:
                    raise DataError(
                        f"{len(fields)} fields where the header has {len(header)}", row=num_rows
                    )
            if num_rows == 0:
                raise DataError("the file has a header and no rows")
    except UnicodeDecodeError as error:
        raise DataError("the file is binary or not UTF-8 text") from error
    except csv.Error as error:
        raise DataError(f"not a readable CSV: {error}", row=rows.line_num - 1) from error


def _check_header(header: list[str]) -> None:
    if "\0" in "".join(header):
        raise DataError("the file is binary or not UTF-8 text")
    for index, name in enumerate(header):
        if not name.strip():
            raise DataError(f"column {index + 1} has no name in the header")
        if name in header[:index]:
            raise DataError("two columns have this name", column=name)


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
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        if "allow_pickle" in str(error):
            raise DataError("object arrays and pickles are refused; save plain numbers") from error
        raise DataError(f"not a readable NPZ: {error}") from error
    lengths = {column.name: len(column) for column in columns}
    if not columns or min(lengths.values()) == 0:
        raise DataError("the file has no rows")
    if len(set(lengths.values())) > 1:
        shortest, longest = (
            min(lengths, key=lengths.__getitem__),
            max(lengths, key=lengths.__getitem__),
        )
        raise DataError(
            f"arrays differ in length: {shortest!r} has {lengths[shortest]} rows, "
            f"{longest!r} has {lengths[longest]}"
        )
    if len(lengths) < len(columns):
        raise DataError("two columns have the same name")
    return pl.DataFrame(columns)


def _columns(name: str, array: NDArray[np.generic]) -> list[pl.Series]:
    """A vector is a column; a matrix, or a stack of images, is one column an element of a row."""
    if array.ndim == 0:
        raise DataError("a single value is not a column", column=name)
    if array.dtype.kind not in "biufU":
        raise DataError(f"values of type {array.dtype} are not supported", column=name)
    if array.ndim == 1:
        return [pl.Series(name, array)]
    matrix = array.reshape(len(array), -1)
    return [pl.Series(f"{name}_{index}", matrix[:, index]) for index in range(matrix.shape[1])]


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
