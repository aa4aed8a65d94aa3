"""Read IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist (2 zeros, dtype, ndim)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from dropout_core.data.readers.table import (
    Contents,
    array_columns,
    check_num_columns,
    named_parts,
    write_as_stored,
)
from dropout_core.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_SIZE_BYTES = 4  # of each length


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    size_bytes: int


def is_idx(signature: bytes) -> bool:
    return (
        len(signature) >= 4
        and signature[:2] == b"\0\0"
        and signature[2] in _TYPES
        and 1 <= signature[3] <= 8
    )


def read_idx(sources: Sequence[Path], target: Path, *, max_columns: int) -> Contents:
    """Write the table of one IDX file, or of images and their labels in any order.

    Images of (N, H, W) become `pixel_0` and so on, row by row; labels of (N,) become `label`.
    Raises DataError if a file is not as long as it says, or the two do not go together.
    """
    headers = [_header(source) for source in sources]
    paired = sorted(zip(headers, sources, strict=True), key=lambda pair: -len(pair[0].shape))
    if len(paired) == 2:
        (images, _), (labels, _) = paired
        if len(labels.shape) != 1 or len(images.shape) == 1:
            raise DataError("two IDX files are read as images and their labels, which these aren't")
        if images.shape[0] != labels.shape[0]:
            raise DataError(f"{images.shape[0]} images and {labels.shape[0]} labels")
    num_columns = sum(math.prod(header.shape[1:]) for header in headers)
    check_num_columns(num_columns, max_columns)
    columns = [column for header, source in paired for column in _columns(header, source)]
    if not columns:
        raise DataError("the file has no rows")
    table = pl.DataFrame(columns)
    write_as_stored(named_parts(table, table.columns), target, max_bytes=0)
    return Contents()


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        signature = file.read(4)
        num_dims = signature[3]
        lengths = file.read(_SIZE_BYTES * num_dims)
    if len(lengths) < _SIZE_BYTES * num_dims:
        raise DataError("not a readable IDX: the file ends within its header")
    dtype: np.dtype[np.generic] = np.dtype(_TYPES[signature[2]])
    shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
    header = _Header(dtype, shape, 4 + len(lengths))
    declared = header.size_bytes + math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if declared != found:
        raise DataError(f"not a readable IDX: {found} bytes, its header declares {declared}")
    return header


def _columns(header: _Header, path: Path) -> list[pl.Series]:
    values = np.fromfile(path, header.dtype, offset=header.size_bytes)
    return array_columns(
        "label" if len(header.shape) == 1 else "pixel", values.reshape(header.shape)
    )
