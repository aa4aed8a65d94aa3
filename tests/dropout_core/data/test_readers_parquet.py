import base64
import datetime as dt
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import convert, read
from dropout_core.errors import DataError

MEBIBYTE = 1 << 20
NOON = dt.datetime(2024, 2, 29, 12)


def written(frame: pl.DataFrame, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)
    return buffer.getvalue()


def read_bytes(folder: Path, content: bytes, *, max_bytes: int = MEBIBYTE) -> pl.DataFrame:
    path = folder / "file"
    path.write_bytes(content)
    return read(path, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("column", "values", "dtype"),
    [
        (pl.Series([1, None], dtype=pl.UInt8), [1, None], pl.Int64),
        (pl.Series([1.5, float("nan")], dtype=pl.Float32), [1.5, None], pl.Float64),
        (pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)), [1.25, None], pl.Float64),
        (pl.Series([True, None]), [True, None], pl.Boolean),
        (pl.Series(["", "é"]), ["", "é"], pl.String),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"], pl.String),
        (pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])), ["a", "b"], pl.String),
        (pl.Series([NOON.date(), None]), [dt.datetime(2024, 2, 29), None], pl.Datetime("us")),
        (pl.Series([NOON], dtype=pl.Datetime("ns")), [NOON], pl.Datetime("us")),
        (pl.Series([NOON], dtype=pl.Datetime("ms")), [NOON], pl.Datetime("us")),
        (
            pl.Series([NOON]).dt.replace_time_zone("Asia/Tokyo"),
            [NOON - dt.timedelta(hours=9)],
            pl.Datetime("us"),
        ),
    ],
    ids=str,
)
def test_every_flat_type_becomes_a_stored_one(
    tmp_path: Path, column: pl.Series, values: list[Any], dtype: pl.DataType
) -> None:
    stored = read_bytes(tmp_path, written(column.to_frame("x")))["x"]
    assert stored.to_list() == values
    assert stored.dtype == dtype


@pytest.mark.parametrize("name", ["*", "^x.*$", "a b"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"x": [1], name: [2]})
    assert read_bytes(tmp_path, written(frame)).to_dict(as_series=False) == {"x": [1], name: [2]}


def test_a_column_without_values_is_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"a": [None, None], "b": [1, 2], "c": pl.Series([None] * 2, dtype=pl.Int8)}
    )
    assert read_bytes(tmp_path, written(frame)).columns == ["b"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"a": [1], "x": [[1, 2]]}), r"column 'x': values of type List\(Int64\)"),
        (pl.DataFrame({"x": [{"y": 1}]}), "column 'x': values of type Struct"),
        (pl.DataFrame({"x": [b"a"]}), "column 'x': values of type Binary"),
        (pl.DataFrame({"x": [dt.time(12)]}), "column 'x': values of type Time"),
        (pl.DataFrame({"x": [dt.timedelta(1)]}), "column 'x': values of type Duration"),
        (pl.DataFrame({"x": [1.0, float("inf")]}), "row 2, column 'x': inf is not a finite"),
        (
            pl.DataFrame({"a": [1, 2], "x": pl.Series([1, 2**64 - 1], dtype=pl.UInt64)}),
            "row 2, column 'x': an integer is larger than 64 bits",
        ),
        (pl.DataFrame({"x": pl.Series([], dtype=pl.Int64)}), "the file has no rows"),
        (pl.DataFrame({"x": [None, None]}), "all values are missing"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_bytes(tmp_path, written(frame))


# A column `x` of INT96, which polars cannot write: the first second of the year 1, noon of
# 2024-06-01, and the last second of 9999.
INT96 = base64.b64decode(
    "UEFSMRUAFVQVVCwVBhUAFQYVBhwAAAACAAAABgEAAAAAAAAAAFJEGgAAgKdISicAAC+LJQAANrRVlE4AACz+UQAVBBks"
    "NQAYBnNjaGVtYRUCABUGJQIYAXgAFgYZHBkcJgAcFQYZJQAYGRgBeBUAFgYWehZ6JghJHBUAFQAVAgA8KQYZJgAGAAAA"
    "FnoWBiYIFnoAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRkcHAAAAHoAAABQQVIx"
)


def test_dates_of_int96_are_read_beyond_nanoseconds(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, INT96)["x"].to_list() == [
        dt.datetime(1, 1, 1),
        dt.datetime(2024, 6, 1, 12),
        dt.datetime(9999, 12, 31, 23, 59, 59),
    ]


def test_a_date_of_int96_that_no_column_holds_is_refused(tmp_path: Path) -> None:
    last_day = bytes.fromhex("2cfe5100")
    with pytest.raises(DataError, match="row 3, column 'x': a date is more than 253,000 years"):
        read_bytes(tmp_path, INT96.replace(last_day, b"\xff\xff\xff\x7f"))


def test_a_file_to_predict_keeps_its_dtypes(tmp_path: Path) -> None:
    day = pl.Series([NOON], dtype=pl.Datetime("ns")).dt.replace_time_zone("Asia/Tokyo")
    frame = pl.DataFrame(
        {
            "id": pl.Series([2**53 + 1], dtype=pl.Decimal(20, 0)),
            "price": pl.Series(["90071992547409.93"]).cast(pl.Decimal(18, 2)),
            "x": pl.Series([0.1], dtype=pl.Float32),
            "day": day,
        }
    )
    (tmp_path / "file").write_bytes(written(frame.with_columns(word=pl.lit("a", pl.Categorical))))
    _, contents = convert([tmp_path / "file"], tmp_path / "table", as_text=True)
    assert pl.read_parquet(tmp_path / "table").equals(frame.with_columns(word=pl.lit("a")))
    assert contents.warnings == ()


def test_rounded_digits_are_told(tmp_path: Path) -> None:
    frame = pl.DataFrame({"price": pl.Series(["90071992547409.93"]).cast(pl.Decimal(18, 2))})
    (tmp_path / "file").write_bytes(written(frame))
    _, contents = convert([tmp_path / "file"], tmp_path / "table")
    assert contents.warnings == (
        "column 'price': 1 values are rounded to numbers of 64 bits, about 15 digits",
    )


def varint(value: int) -> bytes:
    """A number as the footer holds it (Thrift's compact protocol)."""
    zigzag, content = value << 1, b""
    while zigzag > 127:
        content += bytes([zigzag & 127 | 128])
        zigzag >>= 7
    return content + bytes([zigzag])


def claiming(num_rows: int) -> bytes:
    """Three rows, of which the footer says that there are more."""
    content = written(pl.DataFrame({"x": [1, 2, 3]}))
    length = int.from_bytes(content[-8:-4], "little")
    field = b"\x16"  # of 64 bits, after the one before
    footer = content[-8 - length : -8].replace(field + varint(3), field + varint(num_rows))
    assert len(footer) > length
    return content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_a_footer_that_claims_billions_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3000000000 rows of 1 columns unpack to more than"):
        read_bytes(tmp_path, claiming(3_000_000_000), max_bytes=1 << 30)


def test_a_footer_that_claims_some_rows_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_bytes(tmp_path, claiming(1000))


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_text_that_a_dictionary_repeats_is_bounded(tmp_path: Path, dtype: Any) -> None:
    column = pl.Series(["x" * 20_000] * 20_000).cast(dtype)
    content = written(pl.DataFrame({"a": range(20_000), "x": column}))
    assert len(content) < MEBIBYTE
    with pytest.raises(DataError, match="its text unpacks to more than the 104"):
        read_bytes(tmp_path, content)
    assert len(read_bytes(tmp_path, content, max_bytes=400_000_000)) == 20_000


def test_columns_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(written(pl.DataFrame({f"x{index}": [1] for index in range(11)})))
    with pytest.raises(DataError, match="11 columns, 10 are allowed"):
        read(path, max_columns=10)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_damaged_footer_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(written(pl.DataFrame({"x": [1, 2, 3], "y": ["a", "b", None]})))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(len(content) - 120, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        frame = read_bytes(tmp_path_factory.mktemp("parquet"), bytes(content))
    except DataError:
        return
    assert len(frame) > 0


def test_words_have_no_white_space_around_them_and_are_kept_in_a_file_to_predict(
    tmp_path: Path,
) -> None:
    frame = pl.DataFrame({"word": [" a", "a\t", "b c"]})
    assert read_bytes(tmp_path, written(frame))["word"].to_list() == ["a", "a", "b c"]
    (tmp_path / "kept").write_bytes(written(frame))
    convert([tmp_path / "kept"], tmp_path / "table", as_text=True)
    assert pl.read_parquet(tmp_path / "table").equals(frame)


def test_types_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(written(pl.DataFrame({"a": [1]})))
    options = ReadOptions(types={"a": "categorical"})
    with pytest.raises(DataError, match="types are for text files") as caught:
        convert([tmp_path / "file"], tmp_path / "table", options=options)
    assert caught.value.field == "types"
