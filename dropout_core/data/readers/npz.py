"""Read NumPy's archives of arrays: refuse pickles, and check every header."""

import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.lib import format as npy
from numpy.typing import NDArray

from dropout_core.data.readers.table import (
    Contents,
    array_columns,
    check_num_columns,
    named_parts,
    unique_names,
    write_as_stored,
)
from dropout_core.errors import DataError

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any
_SUFFIX = ".npy"


def read_npz(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> Contents:
    """Write the table of an archive: a vector is a column, a matrix one for each of its own.

    Raises DataError if the archive would unpack to more than `max_bytes`, or an array is no data.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            columns = _read(archive, max_bytes=max_bytes, max_columns=max_columns)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, its decompressors and numpy each raise their own
        raise DataError(f"not a readable NPZ: {error}") from error
    if not columns:
        raise DataError("the file has no rows")
    _check_lengths(columns)
    names, warnings = unique_names([column.name for column in columns])
    table = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(columns)])
    write_as_stored(named_parts(table, names), target, max_bytes=max_bytes)
    return Contents(warnings=tuple(warnings))


def _read(archive: zipfile.ZipFile, *, max_bytes: int, max_columns: int) -> list[pl.Series]:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_bytes:
        raise DataError(f"the file unpacks to {unpacked} bytes, {max_bytes} are allowed")
    columns: list[pl.Series] = []
    for member in members:
        name = member.filename.removesuffix(_SUFFIX)
        with archive.open(member) as file:
            shape = _checked_shape(file, name, size_bytes=member.file_size)
        check_num_columns(len(columns) + math.prod(shape[1:]), max_columns)
        with archive.open(member) as file:
            columns += _columns(name, npy.read_array(file, allow_pickle=False))
            file.read()  # to its end, where its checksum is compared
    return columns


def _checked_shape(file: IO[bytes], name: str, *, size_bytes: int) -> tuple[int, ...]:
    """Read an array's header. Raises DataError if it is no data, or more than the file holds."""
    try:
        version = npy.read_magic(file)
    except ValueError as error:
        raise DataError("not an array", column=name) from error
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise DataError("a version of arrays that only structured ones need", column=name)
    if dtype.hasobject:
        raise DataError("object arrays and pickles are refused; save plain numbers", column=name)
    if not shape:
        raise DataError("a single value is not a column", column=name)
    kind, item_bytes = dtype.kind, dtype.itemsize
    if kind not in "biufU" or item_bytes == 0 or (kind == "f" and item_bytes > 8):
        raise DataError(f"values of type {dtype} are not supported", column=name)
    if any(length < 0 for length in shape):
        raise DataError("a length is below zero", column=name)
    if 0 in shape:
        raise DataError("the file has no rows", column=name)
    declared, num_left = math.prod(shape) * dtype.itemsize, size_bytes - file.tell()
    if declared > num_left:
        raise DataError(
            f"its header declares {declared} bytes, the file holds {num_left}", column=name
        )
    return shape


def _columns(name: str, array: NDArray[np.generic]) -> list[pl.Series]:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "U" and not _is_text(array):
        raise DataError("not all of it is text", column=name)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return array_columns(name, array)


def _is_text(array: NDArray[np.generic]) -> bool:
    """Return whether all characters exist and none is NUL, which numpy and polars do not check."""
    codes = np.ascontiguousarray(array).view(np.uint32)
    codes = codes.reshape(-1, array.dtype.itemsize // 4)
    has_nul = (codes[:, :-1] == 0) & (codes[:, 1:] != 0)  # after the last character all are
    return bool((codes <= sys.maxunicode).all()) and not has_nul.any()


def _check_lengths(columns: Sequence[pl.Series]) -> None:
    lengths = {column.name: len(column) for column in columns}
    if len(set(lengths.values())) > 1:
        shortest = min(lengths, key=lengths.__getitem__)
        longest = max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"arrays differ in length: {shortest!r} has {lengths[shortest]} rows, "
            f"{longest!r} has {lengths[longest]}"
        )
