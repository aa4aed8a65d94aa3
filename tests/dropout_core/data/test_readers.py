import gzip
import io
import pickle
import struct
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.data.readers import convert, detect_format, read
from dropout_core.errors import DataError
from tests.support.workbooks import SHEET, number, text, workbook, zipped

MEBIBYTE = 1 << 20


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([1, 3]), b=np.array([2, 4]))
    return buffer.getvalue()


CSV = b"a,b\n1,2\n3,4\n"


def written(write: str, **options: object) -> bytes:
    """A table as a method of a polars frame writes it."""
    buffer = io.BytesIO()
    getattr(pl.DataFrame({"a": [1, 3], "b": [2, 4]}), write)(buffer, **options)
    return buffer.getvalue()


RECORDS = b'{"a": 1, "b": 2}\n\n{"b": 4, "a": 3}\n'
CONTENTS = {
    "csv": CSV,
    "parquet": parquet(a=[1, 3], b=[2, 4]),
    "npz": npz(),
    "json": RECORDS,
    "arrow": written("write_ipc"),
    "xlsx": workbook(*SHEET),
}
VARIANTS = [
    ("csv", b"sep=;\r\na;b\r\n1;2\r\n3;4\r\n"),
    ("csv", zipped(**{"folder/table.csv": CSV, "__MACOSX/._table.csv": b"x", ".DS_Store": b"x"})),
    ("json", b'\xef\xbb\xbf[{"a":1,"b":2},\n {"a":3,"b":4}]'),
    ("json", zipped(x=RECORDS)),
    ("arrow", written("write_ipc", compression="zstd")),
    ("arrow", written("write_ipc_stream")),
    ("parquet", zipped(x=CONTENTS["parquet"])),
]
LABELS = b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes([7, 8, 9])


@pytest.mark.parametrize("name", ["table.csv", "misleading.npz", "misleading.parquet"])
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("format_", CONTENTS)
def test_the_format_is_told_by_the_content(
    tmp_path: Path, format_: str, is_compressed: bool, name: str
) -> None:
    content = CONTENTS[format_]
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, mtime=0) if is_compressed else content)
    assert convert([path], tmp_path / "stored")[0] == format_
    assert read(path).to_dict(as_series=False) == {"a": [1, 3], "b": [2, 4]}
    assert is_compressed or detect_format(path) == format_


@pytest.mark.parametrize(("format_", "content"), VARIANTS)
def test_other_forms_of_a_format_are_read(tmp_path: Path, format_: str, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert convert([path], tmp_path / "stored")[0] == format_
    assert read(path).to_dict(as_series=False) == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(a=CSV, b=CSV), "the archive holds 2 files, such as 'a', 'b': upload the one"),
        (zipped(x=zipped(x=CSV)), "the file is compressed twice"),
        (zipped(x=gzip.compress(CSV, mtime=0)), "the file is compressed twice"),
        (gzip.compress(zipped(x=CSV), mtime=0), "the file is compressed twice"),
        (zipped(x=bytes(8 * MEBIBYTE)), "unpacks to more than the 1048576 bytes allowed"),
        (zipped(x=b""), "the file is empty"),
        (workbook(*SHEET, unpacked=2 * MEBIBYTE), r"unpacks to \d+ bytes, 1048576 are allowed"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel file.*save it as .xlsx"),
        (gzip.compress(b"RDX3\nX\n", mtime=0), "a file of R.*write.csv"),
        (bytes(12) + b"\xc2\xea\x81\x60" + bytes(99), "a SAS file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file.*numpy.savez"),
        (pickle.dumps([1]), "a pickle, which is not read: loading it could run any code"),
        (b"%PDF-1.7", "a PDF, which is not read"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"% comment\n\n@RELATION iris\n@data\n1,2\n", "an ARFF file.*loadarff"),
        (b"+1 1:0.5 3:-2e3\n-1 2:1\n", "a LIBSVM file.*load_svmlight_file"),
        (b"[[1, 2], [3, 4]]", "JSON without the names of columns.*write records"),
        (b"BZh9", "compressed with bzip2.*unpack it first"),
    ],
)
def test_a_refusal_tells_what_the_file_is_and_what_to_do(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path, max_bytes=MEBIBYTE)


def test_cells_of_excel_mean_what_those_of_csv_do(tmp_path: Path) -> None:
    sheet = [
        [text("A1", "word"), text("B1", "day"), text("C1", "mixed"), text("D1", "number")],
        [text("A2", "N/A"), text("B2", "2024-02-01"), number("C2", 1), number("D2", 1.234)],
        [text("A3", "x"), text("B3", "2024-02-02"), text("C3", "two"), number("D3", 2.5)],
    ]
    path = tmp_path / "file"
    path.write_bytes(workbook(*sheet))
    assert read(path).to_dict(as_series=False) == {
        "word": [None, "x"],
        "day": [datetime(2024, 2, 1), datetime(2024, 2, 2)],
        "mixed": ["1", "two"],
        "number": [1.234, 2.5],
    }


def test_a_first_row_of_numbers_in_a_sheet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        workbook([number("A1", 7), text("B1", "b")], [number("A2", 8), text("B2", "c")])
    )
    _, contents = convert([path], tmp_path / "table")
    (warning,) = contents.warnings
    assert warning.startswith("the first row of the sheet was taken for the names of the columns")


def test_an_idx_file_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(LABELS)
    assert detect_format(path) == "idx"


def test_a_gzip_bomb_is_refused_while_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(bytes(8 * MEBIBYTE), mtime=0))
    assert path.stat().st_size < MEBIBYTE // 10
    with pytest.raises(DataError, match="unpacks to more than the 1048576 bytes allowed"):
        read(path, max_bytes=MEBIBYTE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(CSV, mtime=0)[:-3], "not a readable gzip file"),
        (gzip.compress(CSV, mtime=0)[:12], "not a readable gzip file"),
        (gzip.compress(CSV, mtime=0)[:-8] + bytes(8), "not a readable gzip file"),
        (b"\x1f\x8b", "not a readable gzip file"),
        (b"\x1f\x8b\x08" + bytes(100), "not a readable gzip file"),
        (gzip.compress(gzip.compress(CSV, mtime=0), mtime=0), "the file is compressed twice"),
    ],
)
def test_a_file_that_does_not_unpack_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)


def test_two_files_of_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CSV)
    with pytest.raises(DataError, match="an upload is one file, or IDX images and their labels"):
        convert([path, path], tmp_path / "stored")


def test_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n3\n", mtime=0))
    with pytest.raises(DataError):
        convert([path], tmp_path / "stored")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [*CONTENTS.values(), gzip.compress(CSV, mtime=0), LABELS])
def test_a_truncated_file_is_read_or_refused_and_nothing_else(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "file"
    for length in range(0, len(content), 1 + len(content) // 24):
        path.write_bytes(content[:length])
        try:
            frame = read(path)
        except DataError:
            continue
        assert len(frame) > 0


starts = st.sampled_from(
    [
        b"",
        b"\x1f\x8b\x08\0\0\0\0\0\0\0",
        b"PK\x03\x04",
        b'{"',
        b"[{",
        b"ARROW1\0\0",
        b"PAR1",
        b"\0\0\x08\x01\0\0\0",
        b"\xff\xfe",
    ]
)
lines = st.text(st.sampled_from("ab1,;\t\n\r\"' .-:é\0"), max_size=60).map(str.encode)


@given(starts, st.one_of(st.binary(max_size=200), lines))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(start + rest)
    try:
        frame = read(path, max_bytes=MEBIBYTE)
    except DataError:
        return
    assert len(frame) > 0
    assert set(frame.dtypes) <= {
        pl.Int64(),
        pl.Float64(),
        pl.Boolean(),
        pl.String(),
        pl.Datetime("us"),
    }
