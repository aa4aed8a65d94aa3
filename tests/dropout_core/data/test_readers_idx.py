import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from dropout_core.data.readers import convert, read
from dropout_core.errors import DataError

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: NDArray[np.generic]) -> bytes:
    kind = TYPES[array.dtype.str[1:]]
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array([7, 0, 255], dtype=np.uint8)


@pytest.mark.parametrize("order", [1, -1])
def test_images_and_labels_are_joined_in_any_order(tmp_path: Path, order: int) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx(IMAGES))
    labels.write_bytes(idx(LABELS))
    format_, _ = convert([images, labels][::order], tmp_path / "table")
    frame = read_table(tmp_path / "table")
    assert format_ == "idx"
    assert list(frame) == [*(f"pixel_{index}" for index in range(8)), "label"]
    assert frame.pop("label") == [7, 0, 255]
    np.testing.assert_array_equal(np.array(list(frame.values())).T, IMAGES.reshape(3, 8))


def read_table(path: Path) -> dict[str, list[float]]:
    return pl.read_parquet(path).to_dict(as_series=False)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_number_is_read(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(idx(np.array([1, 2, 127], dtype)))
    assert read(path).to_dict(as_series=False) == {"label": [1, 2, 127]}


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([idx(IMAGES), idx(LABELS[:2])], "3 images and 2 labels"),
        ([idx(IMAGES), idx(IMAGES)], "images and their labels, which these aren't"),
        ([idx(LABELS), idx(LABELS)], "images and their labels, which these aren't"),
        ([idx(IMAGES), b"a,b\n1,2\n"], "one file, or IDX images and their labels"),
        ([idx(IMAGES)[:-1]], "39 bytes, its header declares 40"),
        ([idx(IMAGES) + b"\0"], "41 bytes, its header declares 40"),
        ([idx(IMAGES)[:9]], "the file ends within its header"),
        ([b"\0\0\x08\x03" + b"\xff" * 12 + bytes(100)], "bytes, its header declares"),
        ([b"\0\0\x08\x02" + struct.pack(">II", 0, 2**32 - 1)], "4294967295 columns"),
        ([idx(LABELS[:0])], "the file has no rows"),
        ([idx(IMAGES[:0])], "the file has no rows"),
        ([idx(np.array([1, np.inf]))], "row 2, column 'label': inf is not a finite number"),
    ],
)
def test_an_idx_that_cannot_be_used_is_refused(
    tmp_path: Path, contents: list[bytes], message: str
) -> None:
    paths = [tmp_path / str(index) for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        convert(paths, tmp_path / "table")
