"""Every dtype of polars becomes the same stored column, however it comes."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dropout_core.config import PreprocessingConfig, ProblemConfig
from dropout_core.data.columns import describe
from dropout_core.data.encoder import Encoder
from dropout_core.data.readers import read
from dropout_core.data.stored_types import (
    as_given,
    frame_as_stored,
    lost_digits,
    stored_dtype,
    without_nan,
)
from dropout_core.errors import DataError
from dropout_core.pipeline.resolved_table import resolve_table

DATE, TIME = dt.date(2024, 12, 31), dt.datetime(2024, 12, 31, 10, 20, 30)
ZONES = (None, "UTC", "Asia/Tokyo", "America/St_Johns")
INTEGERS = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128),
)
WIDE = (pl.Int128, pl.UInt64, pl.UInt128)


def column(values: list[Any], dtype: Any) -> pl.Series:
    return pl.Series("x", values, dtype=dtype)


STORABLE = [
    *((column([1, None, 100], dtype), pl.Int64) for dtype in INTEGERS),
    *((column([1, None, 2**63 - 1], dtype), pl.Int64) for dtype in WIDE),
    (column([-(2**63), None, 1], pl.Int128), pl.Int64),
    *((column([0.5, None, float("nan")], dtype), pl.Float64) for dtype in (pl.Float32, pl.Float64)),
    (column([1, None, 2], pl.Decimal(38, 6)), pl.Float64),
    (column([Decimal("0.1"), None, Decimal(2**53)], pl.Decimal(38, 6)), pl.Float64),
    (column([2**53 + 1, None, -(2**53) - 1], pl.Decimal(20, 0)), pl.Int64),
    (column([0.5, None, float("nan")], pl.Float16), pl.Float64),
    (column([True, None, False], pl.Boolean), pl.Boolean),
    (column(["a", None, "b"], pl.String), pl.String),
    (column(["a", None, "b"], pl.Categorical), pl.String),
    (column(["a", None, "b"], pl.Enum(["a", "b"])), pl.String),
    (column([DATE, None, dt.date(1, 1, 1)], pl.Date), pl.Datetime("us")),
    *(
        (
            column([TIME, None, dt.datetime(1969, 12, 31)], pl.Datetime(unit)).dt.replace_time_zone(
                zone
            ),
            pl.Datetime("us"),
        )
        for unit in ("ms", "us", "ns")
        for zone in ZONES
    ),
]
LARGE, FAR = "an integer is larger than 64 bits", "a date is more than 253,000 years away from 1970"
REFUSED = [
    *((column([1, 2**63], dtype), 2, LARGE) for dtype in WIDE),
    (column([1, -(2**63) - 1], pl.Int128), 2, LARGE),
    (column([Decimal(1), Decimal(2**63)], pl.Decimal(38, 0)), 2, LARGE),
    (
        column([Decimal(1), Decimal(2**53 + 1)], pl.Decimal(38, 6)),
        2,
        "larger than 2\\^53 and would lose",
    ),
    (column([0, 2**31 - 1], pl.Int32).cast(pl.Date), 2, FAR),
    (column([0, -(2**63) + 1], pl.Int64).cast(pl.Datetime("us")), 2, FAR),
    (column([0, 2**62], pl.Int64).cast(pl.Datetime("ms", "UTC")), 2, FAR),
    (column([dt.timedelta(1)], pl.Duration), None, "values of type Duration"),
    (column([dt.time(12)], pl.Time), None, "values of type Time"),
    (column([b"a"], pl.Binary), None, "values of type Binary"),
    (column([[1]], pl.List(pl.Int64)), None, "values of type List"),
    (column([[1, 2]], pl.Array(pl.Int64, 2)), None, "values of type Array"),
    (column([{"a": 1}], pl.Struct({"a": pl.Int64})), None, "values of type Struct"),
    (column([object()], pl.Object), None, "values of type Object"),
]


def frame_of(values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"y": range(len(values)), "x": values})


@pytest.mark.parametrize(
    ("values", "dtype"), STORABLE, ids=lambda value: str(getattr(value, "dtype", value))
)
def test_an_upload_is_stored_as_a_frame_is(tmp_path: Path, values: pl.Series, dtype: Any) -> None:
    frame = frame_of(values)
    frame.write_parquet(tmp_path / "a.parquet")
    uploaded = read(tmp_path / "a.parquet")
    stored = without_nan(frame_as_stored(frame).lazy()).collect()
    assert stored["x"].dtype == dtype
    assert stored["x"].null_count() >= 1
    assert uploaded.equals(stored)
    assert describe(frame.fill_nan(None)) == describe(uploaded)


@pytest.mark.parametrize(
    ("values", "dtype"), STORABLE, ids=lambda value: str(getattr(value, "dtype", value))
)
def test_a_model_reads_every_dtype_as_it_reads_the_stored_column(
    values: pl.Series, dtype: Any
) -> None:
    stored = without_nan(frame_as_stored(frame_of(values)).lazy()).collect()
    (feature,) = [one for one in describe(stored) if one.name == "x"]
    encoder = Encoder.fit(stored, {"x": feature.type}, PreprocessingConfig())  # type: ignore[dict-item]
    expected = encoder.encode(stored)
    assert encoder.encode(frame_of(values)).tobytes() == expected.tobytes()
    again = Encoder.fit(frame_of(values), {"x": feature.type}, PreprocessingConfig())  # type: ignore[dict-item]
    assert again.features == encoder.features


def test_a_column_of_nothing_is_missing_everywhere(tmp_path: Path) -> None:
    frame = frame_of(column([None, None], pl.Null))
    frame.write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").columns == ["y"]
    assert frame_as_stored(frame)["x"].null_count() == 2
    assert describe(frame)[1].num_distinct == 0
    encoder = Encoder.fit(pl.DataFrame({"x": [1.0, None]}), {"x": "numeric"}, PreprocessingConfig())
    assert str(encoder.encode(frame).tolist()) == "[[nan], [nan]]"


@pytest.mark.parametrize(
    ("values", "row", "message"), REFUSED, ids=lambda value: str(getattr(value, "dtype", value))
)
def test_what_cannot_be_stored_is_a_data_error_in_every_way_in(
    tmp_path: Path, values: pl.Series, row: int | None, message: str
) -> None:
    frame = frame_of(values)
    encoder = Encoder.fit(pl.DataFrame({"x": [1, 2]}), {"x": "numeric"}, PreprocessingConfig())
    ways = [
        lambda: frame_as_stored(frame),
        lambda: describe(frame),
        lambda: resolve_table(frame, ProblemConfig(target="y")),
        lambda: encoder.encode(frame),
        lambda: Encoder.fit(frame, {"x": "numeric"}, PreprocessingConfig()),
    ]
    if values.dtype == pl.Object:  # Python's own values are read one by one
        ways = ways[:3]
        with pytest.raises(DataError, match="row 1, column 'x': a value has to be a number"):
            encoder.encode(frame)
    elif values.dtype != pl.Array:
        frame.write_parquet(tmp_path / "a.parquet")
        ways.append(lambda: read(tmp_path / "a.parquet"))
    for way in ways:
        with pytest.raises(DataError, match=message) as caught:
            way()
        assert (caught.value.row, caught.value.column) == (row, "x")


@pytest.mark.parametrize(
    ("values", "dtype"), STORABLE, ids=lambda value: str(getattr(value, "dtype", value))
)
def test_a_column_that_keeps_its_dtype_is_stored_alike(values: pl.Series, dtype: Any) -> None:
    frame = frame_of(values)
    kept = as_given(frame.lazy()).collect()
    assert frame_as_stored(kept).equals(frame_as_stored(frame))
    if values.dtype not in (pl.Categorical, pl.Enum):
        assert kept.equals(frame)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (
            column([Decimal("90071992547409.93"), Decimal("1.50"), None], pl.Decimal(18, 2)),
            "column 'x': 1 values are rounded to numbers of 64 bits, about 15 digits",
        ),
        (
            column([1_001, None, -1_000], pl.Int64).cast(pl.Datetime("ns")),
            "column 'x': 1 values are rounded to microseconds",
        ),
        (column([Decimal("-123456789012.345"), None], pl.Decimal(38, 18)), None),
        (column([2**60, 1], pl.Int64).cast(pl.Decimal(38, 0)), None),
        (column([1_000, None], pl.Int64).cast(pl.Datetime("ns")), None),
        (column([0.1], pl.Float32), None),
    ],
    ids=str,
)
def test_digits_that_are_lost_are_told(values: pl.Series, warning: str | None) -> None:
    assert lost_digits(frame_of(values).lazy()) == ([] if warning is None else [warning])


def test_decimals_that_no_library_here_reads_are_refused_by_their_column() -> None:
    with pytest.raises(DataError, match="column 'x': decimals of 76 digits are not supported"):
        stored_dtype(pl.Decimal(76, 10), column="x")
