import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.data.readers import convert, read
from dropout_core.errors import DataError

MEBIBYTE = 1 << 20


def read_bytes(folder: Path, content: bytes) -> pl.DataFrame:
    path = folder / "file"
    path.write_bytes(content)
    return read(path, max_bytes=MEBIBYTE)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def array_file(shape: tuple[object, ...], data: bytes = b"", descr: str = "<f8") -> bytes:
    """An array as NumPy keeps it, whose header may say anything."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


LAST_CHARACTER = {"x": [1], "label_0": ["\U0010ffff"], "label_1": ["b"]}


@pytest.mark.parametrize(
    ("arrays", "columns"),
    [
        ({"x": np.array([1.5, 2.5]), "y": [1, 2]}, {"x": [1.5, 2.5], "y": [1, 2]}),
        ({"x": np.arange(6).reshape(2, 3)}, {"x_0": [0, 3], "x_1": [1, 4], "x_2": [2, 5]}),
        ({"x": np.asfortranarray([[1, 2], [3, 4]])}, {"x_0": [1, 3], "x_1": [2, 4]}),
        ({"x": [1, 2], "label": ["cat", "dog"]}, {"x": [1, 2], "label": ["cat", "dog"]}),
        ({"x": [True, False]}, {"x": [True, False]}),
        ({"x": [1, 2], "label": np.array(["é", ""], ">U9")}, {"x": [1, 2], "label": ["é", ""]}),
        ({"x": [1], "label": [["\U0010ffff", "b"]]}, LAST_CHARACTER),
        ({"x": np.array([1, 2], dtype=">i4")}, {"x": [1, 2]}),
        ({"x": np.array([1, 2], dtype=np.uint8)}, {"x": [1, 2]}),
        ({"x": np.array([0.5, 2], dtype=np.float16)}, {"x": [0.5, 2.0]}),
        ({"x": np.array([0.5, 2], dtype=np.float32)}, {"x": [0.5, 2.0]}),
    ],
    ids=str,
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_columns(
    tmp_path: Path, arrays: dict[str, Any], columns: dict[str, list[Any]], save: Any
) -> None:
    with (tmp_path / "file").open("wb") as file:
        save(file, **arrays)
    frame = read(tmp_path / "file", max_bytes=MEBIBYTE)
    assert frame.to_dict(as_series=False) == columns
    assert {dtype for dtype in frame.dtypes if dtype.is_numeric()} <= {pl.Int64, pl.Float64}


def test_images_are_flattened_row_by_row(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 3, 4, 2)
    frame = read_bytes(tmp_path, npz(image=images))
    assert frame.columns == [f"image_{index}" for index in range(24)]
    np.testing.assert_array_equal(frame.to_numpy(), images.reshape(2, 24))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(x=np.array([1, "a"], dtype=object)), "object arrays and pickles are refused"),
        (archive(x=pickle.dumps([1, 2])), "column 'x': not an array"),
        (archive(x=b"hello"), "column 'x': not an array"),
        (archive(), "no rows"),
        (npz(x=np.zeros(0)), "no rows"),
        (npz(x=np.zeros((0, 3))), "no rows"),
        (npz(x=np.zeros((3, 0))), "no rows"),
        (npz(x=np.float64(1)), "column 'x': a single value is not a column"),
        (npz(x=np.ones(2), y=np.ones(3)), "'x' has 2 rows, 'y' has 3"),
        (npz(x=np.ones(2, complex)), "column 'x': values of type complex128"),
        (npz(x=np.array([b"a"])), "column 'x': values of type"),
        (npz(x=np.array(["2020-01-01"], dtype="M8[D]")), "column 'x': values of type datetime64"),
        (npz(x=np.zeros(2, dtype=[("y", float)])), "column 'x': values of type"),
        (npz(x=np.ones(2, np.longdouble), y=np.ones(2)), "column 'x': values of type float128"),
        (npz(x=np.array([[1, 2], [3, np.inf]])), "row 2, column 'x_1': inf is not a finite"),
        (
            npz(x=np.array([1, 2**64 - 1], dtype=np.uint64)),
            "row 2, column 'x': an integer is larger",
        ),
        (npz(x=np.array([np.nan])), "all values are missing"),
        (npz(x=np.arange(100.0))[:300], "not a readable NPZ"),
        (npz(x=np.arange(100.0))[:-1], "not a readable NPZ"),
        (b"PK\x03\x04", "not a readable NPZ"),
        (b"PK\x03\x04" + bytes(100), "not a readable NPZ"),
        (archive(x=array_file((2**32,), bytes(8))), "'x': its header declares 34359738368 bytes"),
        (archive(x=array_file((10**30,), bytes(8))), "column 'x': its header declares"),
        (archive(x=array_file((3,), bytes(8))), "column 'x': its header declares 24 bytes"),
        (archive(x=array_file((-1,), bytes(8))), "column 'x': a length is below zero"),
        (
            archive(x=array_file((1, 100_001), bytes(100_001), descr="|u1")),
            "100001 columns, 100000 are allowed",
        ),
        (archive(x=array_file((1.5,), bytes(8))), "not a readable NPZ"),
        (archive(x=array_file((1,), bytes(8), descr="nonsense")), "not a readable NPZ"),
        (archive(x=array_file((1,), bytes(8))[:20]), "not a readable NPZ"),
        (archive(x=array_file((0, 10**9))), "no rows"),
        (archive(x=array_file((10**12,), descr="<U0")), "column 'x': values of type <U0"),
        (
            archive(x=array_file((1,), b"\xff" * 8, descr="<U2"), y=array_file((1,), bytes(8))),
            "column 'x': not all",
        ),
        (archive(x=array_file((1,), b"\x00\xd8\0\0", descr="<U1")), "not a readable NPZ"),
        (npz(x=np.array(["a\0b"]), y=np.ones(1)), "column 'x': not all of it is text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # whose bytes vary
)
def test_an_npz_that_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_bytes(tmp_path, content)


class Harmful:
    """Its pickle, once loaded, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("is_array", [False, True])
def test_no_pickle_is_ever_loaded(tmp_path: Path, is_array: bool) -> None:
    harmful = Harmful(tmp_path / "harm")
    content = (
        npz(x=np.array([harmful], dtype=object)) if is_array else archive(x=pickle.dumps(harmful))
    )
    with pytest.raises(DataError):
        read_bytes(tmp_path, content)
    assert not harmful.path.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = archive(x=array_file((MEBIBYTE,), bytes(8 * MEBIBYTE)))
    assert len(bomb) < MEBIBYTE // 10
    with pytest.raises(DataError, match=r"unpacks to 8388\d+ bytes, 1048576 are allowed"):
        read_bytes(tmp_path, bomb)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    bomb = bytearray(archive(x=array_file((MEBIBYTE,), bytes(8 * MEBIBYTE))))
    real_size = (8 * MEBIBYTE + 128).to_bytes(4, "little")
    assert bomb.count(real_size) == 2  # before the member and in the directory
    with pytest.raises(DataError, match="not a readable NPZ"):
        read_bytes(tmp_path, bytes(bomb).replace(real_size, (1000).to_bytes(4, "little")))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_damaged_npz_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, save: Any, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    save(buffer, x=np.arange(6.0).reshape(3, 2), label=np.array(["a", "b", "c"]))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(4, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        frame = read_bytes(tmp_path_factory.mktemp("npz"), bytes(content))
    except DataError:
        pass
    else:
        assert len(frame) > 0


def test_nan_is_missing(tmp_path: Path) -> None:
    frame = read_bytes(tmp_path, npz(x=np.array([1, np.nan]), y=np.array([1, 2], np.float32)))
    assert frame.to_dict(as_series=False) == {"x": [1, None], "y": [1, 2]}


def test_names_are_made_unique(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(npz(x_0=np.ones(2), x=np.ones((2, 1)), **{"": np.ones(2)}))
    _, contents = convert([path], tmp_path / "table")
    assert pl.read_parquet(tmp_path / "table").columns == ["x_0", "x_0_2", "column_3"]
    assert contents.warnings == (
        "two columns were named 'x_0': column 2 is now 'x_0_2'",
        "column 3 had no name: it is now 'column_3'",
    )


def test_one_array_is_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "file.npy", np.arange(6.0).reshape(3, 2))
    assert read(tmp_path / "file.npy").to_dict(as_series=False) == {
        "x_0": [0.0, 2.0, 4.0],
        "x_1": [1.0, 3.0, 5.0],
    }


@pytest.mark.parametrize("name", ["{stem}_{part}", "{part}_{stem}"])
def test_parts_of_the_rows_follow_one_another(tmp_path: Path, name: str) -> None:
    """As in the MNIST of Keras, whose training and test rows are arrays of their own."""
    arrays = {
        name.format(stem=stem, part=part): np.full((length, *shape), length, np.uint8)
        for part, length in (("train", 2), ("test", 1))
        for stem, shape in (("x", (1, 2)), ("y", ()))
    }
    path = tmp_path / "mnist.npz"
    np.savez(path, **arrays)
    _, contents = convert([path], tmp_path / "table")
    assert pl.read_parquet(tmp_path / "table").to_dict(as_series=False) == {
        "x_0": [2, 2, 1],
        "x_1": [2, 2, 1],
        "y": [2, 2, 1],
        "split": ["train", "train", "test"],
    }
    (warning,) = contents.warnings
    assert "train, test, which the column 'split' tells" in warning
