"""Read NumPy's archives of arrays: refuse pickles, and check every header."""

import math
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
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

NPY_SIGNATURE = b"\x93NUMPY"
_SUFFIX = ".npy"

# The names of arrays that hold a part of the rows: x_train and train_images, as Keras has them.
_PARTS = {"train": "train", "test": "test", "validation": "validation"} | dict.fromkeys(
    ("val", "valid"), "validation"
)
_WORDS = "|".join(_PARTS)
_OF_A_PART = re.compile(rf"(?P<stem>.+)_(?P<part>{_WORDS})|(?P<before>{_WORDS})_(?P<rest>.+)")
_SPLIT = "split"

Array = NDArray[np.generic]


def read_npz(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> Contents:
    """Write the table of an archive: a vector is a column, a matrix one for each of its own.

    Where each array has a part of the rows, as x_train and x_test, the parts follow one another,
    and the column `split` tells them. Raises DataError if the archive would unpack to more than
    `max_bytes`, or an array is no data.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            arrays = _read(archive, max_bytes=max_bytes, max_columns=max_columns)
        warnings = _join_parts(arrays)
        columns = [column for name, array in arrays for column in _columns(name, array)]
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, its decompressors and numpy each raise their own
        raise DataError(f"not a readable NPZ: {error}") from error
    return _write(columns, target, max_bytes=max_bytes, warnings=warnings)


def read_npy(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> Contents:
    """Write the table of one array, whose columns are named after `x`. Raises DataError."""
    try:
        opened: Callable[[], IO[bytes]] = partial(source.open, "rb")  # type: ignore[assignment]
        columns = _columns("x", _array(opened, "x", source.stat().st_size, max_columns=max_columns))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # numpy raises its own
        raise DataError(f"not a readable array of NumPy: {error}") from error
    return _write(columns, target, max_bytes=max_bytes)


def _write(
    columns: Sequence[pl.Series], target: Path, *, max_bytes: int, warnings: Sequence[str] = ()
) -> Contents:
    if not columns:
        raise DataError("the file has no rows")
    _check_lengths(columns)
    names, renamed = unique_names([column.name for column in columns])
    table = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(columns)])
    write_as_stored(named_parts(table, names), target, max_bytes=max_bytes)
    return Contents(warnings=(*warnings, *renamed))


def _read(archive: zipfile.ZipFile, *, max_bytes: int, max_columns: int) -> list[tuple[str, Array]]:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_bytes:
        raise DataError(f"the file unpacks to {unpacked} bytes, {max_bytes} are allowed")
    arrays: list[tuple[str, Array]] = []
    num_columns = 0
    for member in members:
        name = member.filename.removesuffix(_SUFFIX)
        opened = partial(archive.open, member)
        array = _array(
            opened, name, member.file_size, num_before=num_columns, max_columns=max_columns
        )
        num_columns += math.prod(array.shape[1:])
        arrays.append((name, array))
    return arrays


def _array(
    opened: Callable[[], IO[bytes]],
    name: str,
    size_bytes: int,
    *,
    num_before: int = 0,
    max_columns: int,
) -> Array:
    with opened() as file:
        shape = _checked_shape(file, name, size_bytes=size_bytes)
    check_num_columns(num_before + math.prod(shape[1:]), max_columns)
    with opened() as file:
        array: Array = npy.read_array(file, allow_pickle=False)
        file.read()  # to its end, where its checksum is compared
    return array


def _join_parts(arrays: list[tuple[str, Array]]) -> list[str]:
    """Join arrays of parts of the rows in place; return a warning about it, if there are any."""
    found: dict[str, dict[str, Array]] = {}  # by part, by stem
    for name, array in arrays:
        match = _OF_A_PART.fullmatch(name)
        if match is None:
            return []
        part = _PARTS[match["part"] or match["before"]]
        found.setdefault(part, {})[match["stem"] or match["rest"]] = array
    stems = [list(of_part) for of_part in found.values()]
    if len(found) < 2 or any(set(one) != set(stems[0]) for one in stems):
        return []
    joined: list[tuple[str, Array]] = []
    for stem in stems[0]:
        parts = [of_part[stem] for of_part in found.values()]
        if len({(array.shape[1:], array.dtype.kind) for array in parts}) > 1:
            raise DataError("its parts differ in their columns", column=stem)
        joined.append((stem, np.concatenate(parts)))
    lengths = [len(next(iter(of_part.values()))) for of_part in found.values()]
    joined.append((_SPLIT, np.repeat(list(found), lengths)))
    arrays[:] = joined
    return [
        f"the arrays are parts of the rows, {', '.join(found)}, which the column {_SPLIT!r} tells: "
        f'split by it with {{"kind": "column", "column": "{_SPLIT}"}}, or leave it out of the '
        "features"
    ]


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
