import csv
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dropout_core.data.errors import DataError
from dropout_core.data.readers import detect_format, read

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


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\n1,2\n3,4", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\r\n1,2\r\n3,4\r\n", {"a": [1, 3], "b": [2, 4]}),
        ("\ufeffa,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a,b\n1.5,x\n-2e3,y\n", {"a": [1.5, -2000.0], "b": ["x", "y"]}),
        ("a,b\n1,true\n2,false\n", {"a": [1, 2], "b": [True, False]}),
        ('a,b\n1,"x\ny"\n2,"p\r\n\r\nq"\n', {"a": [1, 2], "b": ["x\ny", "p\r\n\r\nq"]}),
        ('a,b\n1,"x, ""y"""\n', {"a": [1], "b": ['x, "y"']}),
        ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
        ("a,b\n,2\n1,\n", {"a": [None, 1], "b": [2, None]}),
        ('a,b\n1,""\n', {"a": [1], "b": [None]}),
        ("a,b\n1,é\n", {"a": [1], "b": ["é"]}),
        ("a,b\n9007199254740993,x\n", {"a": [9007199254740993], "b": ["x"]}),
        ("PK,b\n1,2\n", {"PK": [1], "b": [2]}),
        ("a,b\n1,nan\n2,unheard of\n", {"a": [1, 2], "b": ["nan", "unheard of"]}),
    ],
)
def test_a_csv_is_read(tmp_path: Path, text: str, columns: dict[str, list[Any]]) -> None:
    frame = read_bytes(tmp_path, text.encode())
    assert frame.to_dict(as_series=False) == columns


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n\n3,4\n",
        "a,b\n\n1,2\n3,4\n",
        "a,b\n1,2\n3,4\n\n\n",
        "a,b\r\n1,2\r\n\r\n3,4\r\n\r\n",
    ],
)
def test_blank_lines_are_no_rows(tmp_path: Path, text: str) -> None:
    frame = read_bytes(tmp_path, text.encode())
    assert frame.to_dict(as_series=False) == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the first line is blank"),
        (b"\na,b\n1,2\n", "the first line is blank"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b", "a header and no rows"),
        (b"a,b\n\n\n", "a header and no rows"),
        (b"a,b\n1,2\n3\n", "row 2: 1 fields where the header has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", "row 2: 3 fields where the header has 2"),
        (b'a,b\n"1\n\n1",2\n3\n', "row 2: 1 fields where the header has 2"),
        (b"a,b\n1,2\n   \n", "row 2: 1 fields where the header has 2"),
        (b'a,b\n1,2\n3,"4\n', "row 2: not a readable CSV: unexpected end of data"),
        (b'a,b\n1,"2"3\n', "row 1: not a readable CSV: ',' expected after '\"'"),
        (b'"a', "^not a readable CSV: unexpected end of data"),
        (b"a,b\r1,2\r3,4\r", "not a readable CSV: new-line character seen in unquoted field$"),
        (b'a,b\n1,x"y\n2,z\n', "not a readable CSV: CSV malformed"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary or not UTF-8"),
        (b"\x7fELF\x02\x01\x01\0\0", "binary or not UTF-8"),
        (bytes(range(256)), "binary or not UTF-8"),
        ("a,b\n1,é\n".encode("latin-1"), "binary or not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "binary or not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "binary or not UTF-8"),
        (b"a,b\0\n1,2\n", "binary or not UTF-8"),
        (b"a,b\n1,x\0y\n", "binary or not UTF-8"),
        (b"a,b\n1,\0\n", "binary or not UTF-8"),
        (b"a,b,a\n1,2,3\n", "column 'a': two columns have this name"),
        (b"a,,c\n1,2,3\n", "column 2 has no name"),
        (b"a, \n1,2\n", "column 2 has no name"),
        (b"a,b\nx,y\n", "no numeric column"),
        (b"a;b\n1;2\n", "no numeric column"),
        (b"a,b\n1,2\n3,NaN\n", "row 2, column 'b': nan is not a finite number"),
        (b"a,b\n1,2\n\n3,NaN\n", "row 2, column 'b': nan is not a finite number"),
        (b"a,b\n1,2\n3,nan\n", "row 2, column 'b': nan is not a finite number"),
        (b"a,b\n1,\n3,Infinity\n", "row 2, column 'b': inf is not a finite number"),
        (b"a,b\n1,2.5\n3,-inf\n", "row 2, column 'b': -inf is not a finite number"),
        (b"a,b\n1,1e999\n", "row 1, column 'b': inf is not a finite number"),
        (b"a,b\n1,18446744073709551615\n", "an integer is larger than 64 bits"),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "row 1: not a readable CSV: field larger than"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_bytes(tmp_path, content)


def test_an_error_carries_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_bytes(tmp_path, b"a,b\n1,2\n3,NaN\n")
    assert (caught.value.row, caught.value.column, caught.value.field) == (2, "b", None)


words = st.sampled_from(["", "1", "x", "true", '"x\ny"', '""', '"1,2"', " ", 'a"b', "nan", "é"])
numbers = st.sampled_from(["", "1", "2.5", '""', '"3"', "-1e3"])
lines = st.one_of(st.just(""), st.tuples(words, numbers).map(",".join))


@given(st.lists(lines, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example(["a,2", "", "b,4", ""], "\n", True)
@settings(deadline=None, max_examples=300)
def test_cells_are_those_that_the_standard_library_reads(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: str, ends: bool
) -> None:
    text = newline.join(["word,number", *lines, "x,1"]) + newline * ends
    expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row][1:]
    try:
        frame = read_bytes(tmp_path_factory.mktemp("csv"), text.encode())
    except DataError:
        assert 'a"b' in text  # where polars sees the start of a quoted field
    else:
        rows = [(word or None, float(number) if number else None) for word, number in expected]
        assert frame.rows() == rows


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
        (npz(x=np.array([1, np.nan])), "row 2, column 'x': nan is not a finite number"),
        (npz(x=np.array([[1, 2], [3, np.inf]])), "row 2, column 'x_1': inf is not a finite"),
        (npz(x=np.array([2**64 - 1], dtype=np.uint64)), "larger than 64 bits"),
        (npz(x=np.array(["a", "b"])), "no numeric column"),
        (npz(x_0=np.ones(2), x=np.ones((2, 1))), "column 'x_0': two columns have this name"),
        (npz(**{"": np.ones(2)}), "column 1 has no name"),
        (npz(x=np.arange(100.0))[:300], "not a readable NPZ"),
        (npz(x=np.arange(100.0))[:-1], "not a readable NPZ"),
        (b"PK\x03\x04", "not a readable NPZ"),
        (b"PK\x03\x04" + bytes(100), "not a readable NPZ"),
        (archive(x=array_file((10**12,), bytes(8))), "not a readable NPZ"),
        (archive(x=array_file((10**30,), bytes(8))), "not a readable NPZ"),
        (archive(x=array_file((3,), bytes(8))), "not a readable NPZ"),
        (archive(x=array_file((-1,), bytes(8))), "not a readable NPZ"),
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
@settings(deadline=None, max_examples=200)
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


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    path = tmp_path / "misleading.csv"
    path.write_bytes(npz(x=np.ones(2)))
    assert detect_format(path) == "npz"
    path = tmp_path / "misleading.npz"
    path.write_bytes(b"a,b\n1,2\n")
    assert detect_format(path) == "csv"
