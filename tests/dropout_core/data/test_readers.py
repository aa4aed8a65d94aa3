import gzip
import io
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.data.readers import convert, detect_format, read
from dropout_core.errors import DataError

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
CONTENTS = {"csv": CSV, "parquet": parquet(a=[1, 3], b=[2, 4]), "npz": npz()}
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
        (gzip.compress(gzip.compress(CSV, mtime=0), mtime=0), "a gzip file in a gzip file"),
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
    [b"", b"\x1f\x8b\x08\0\0\0\0\0\0\0", b"PK\x03\x04", b"PAR1", b"\0\0\x08\x01\0\0\0", b"\xff\xfe"]
)
text = st.text(st.sampled_from("ab1,;\t\n\r\"' .-:é\0"), max_size=60).map(str.encode)


@given(starts, st.one_of(st.binary(max_size=200), text))
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
