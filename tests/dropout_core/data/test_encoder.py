import datetime as dt
import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import FeatureType, PreprocessingConfig
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.encoder import Encoder
from dropout_core.data.read_options import MISSING_WORDS
from dropout_core.errors import DataError

CONFIG = PreprocessingConfig(text_buckets=8)
MOMENT = pl.Datetime("us")


def fit(
    frame: pl.DataFrame | dict[str, Any],
    types: dict[str, FeatureType],
    config: PreprocessingConfig = CONFIG,
) -> Encoder:
    return Encoder.fit(pl.DataFrame(frame), types, config)


def fit_one(values: Sequence[Any], kind: FeatureType, **config: Any) -> Encoder:
    """An encoder of one feature, `x`, that saw these values."""
    return fit({"x": values}, {"x": kind}, PreprocessingConfig(**config))


def encode_one(encoder: Encoder, values: Sequence[Any] | pl.Series, dtype: Any = None) -> list[Any]:
    """The first column of the matrix, None for NaN."""
    column = encoder.encode(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}))[:, 0]
    return [None if math.isnan(value) else value for value in column]


def rows_one(encoder: Encoder, values: Sequence[Any]) -> list[Any]:
    frame = encoder.frame_of([{"x": value} for value in json.loads(json.dumps(values))])
    return encode_one(encoder, frame["x"].to_list(), frame["x"].dtype)


# A value means the same however it arrives.

MINUTES = st.integers(-14 * 60, 14 * 60)
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
REAL = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)
TIMES = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29)) | st.dates(
    dt.date(1, 1, 3), dt.date(9999, 12, 29)
).map(lambda date: dt.datetime.combine(date, dt.time()))
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5) | st.sampled_from(
    ["1e5", "3", "3.0", "007", "7", "True", "true", "2024-01-01", "1.1.2024", "inf", "é", " "]
)


@st.composite
def spelt_number(draw: st.DrawFn, value: float) -> str:
    texts = [repr(value), f"{value:+.17e}", f" {value!r} ", repr(value).replace("e", "E")]
    if float(value).is_integer() and abs(value) < 2**53:
        texts += [f"{value:.1f}", str(int(value)), f"{int(value)}."]
    if value == 0:
        texts += ["-0", "-0.0", "0e5"]
    return draw(st.sampled_from(texts if abs(value) < 2**53 else texts[:1]))


@st.composite
def spelt_time(draw: st.DrawFn, value: dt.datetime) -> str:
    ahead = draw(MINUTES)
    local = value + dt.timedelta(minutes=ahead)
    zone = f"{'-' if ahead < 0 else '+'}{abs(ahead) // 60:02}:{abs(ahead) % 60:02}"
    texts = [local.isoformat() + zone, value.isoformat(sep=" "), value.isoformat() + "Z"]
    if value.time() == dt.time():
        day = f"{value.year:04}"
        texts += [
            value.date().isoformat(),
            f"{value.day:02}.{value.month:02}.{day}",
            f"{day}/{value.month:02}/{value.day:02}",
        ]
    return draw(st.sampled_from(texts))


def spelt_truth(value: bool) -> st.SearchStrategy[str]:
    return st.sampled_from(["true", "True", "TRUE"] if value else ["false", "False", "FALSE"])


def json_number(value: float) -> st.SearchStrategy[Any]:
    same = [value, repr(value)]
    if isinstance(value, float) and value.is_integer():
        same.append(int(value))
    return st.sampled_from(same)


COLUMNS: dict[str, tuple[FeatureType, Any, st.SearchStrategy[Any], Any, Any]] = {
    # name: type, stored dtype, values, how they are spelt in a file, how in JSON
    "whole": ("numeric", pl.Int64, WHOLE, spelt_number, json_number),
    "real": ("numeric", pl.Float64, REAL, spelt_number, json_number),
    "truth_as_number": (
        "numeric",
        pl.Boolean,
        st.booleans(),
        spelt_truth,
        lambda value: st.sampled_from([value, int(value), float(value)]),
    ),
    "truth": (
        "boolean",
        pl.Boolean,
        st.booleans(),
        lambda value: spelt_truth(value) | st.just(str(int(value))),
        lambda value: st.sampled_from([value, int(value), float(value), str(value)]),
    ),
    "time": ("datetime", MOMENT, TIMES, spelt_time, spelt_time),
    "whole_category": ("categorical", pl.Int64, WHOLE, spelt_number, json_number),
    "real_category": ("categorical", pl.Float64, REAL, spelt_number, json_number),
    "truth_category": ("categorical", pl.Boolean, st.booleans(), spelt_truth, st.just),
    "time_category": ("categorical", MOMENT, TIMES, spelt_time, spelt_time),
    "word": ("categorical", pl.String, WORDS, st.just, st.just),
    "prose": ("text", pl.String, WORDS, st.just, st.just),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, list[Any]]:
    """The same rows as they are stored, as a file holds them, and as JSON."""
    num_rows = draw(st.integers(1, 6))
    stored, spelt, json_columns = {}, {}, {}
    for name, (_, dtype, values, in_file, in_json) in COLUMNS.items():
        cells = draw(st.lists(st.none() | values, min_size=num_rows, max_size=num_rows))
        stored[name] = pl.Series(cells, dtype=dtype)
        missing = st.none() | st.sampled_from(MISSING_WORDS)
        spelt[name] = pl.Series(
            [draw(missing if cell is None else in_file(cell)) for cell in cells], dtype=pl.String
        )
        json_columns[name] = [None if cell is None else draw(in_json(cell)) for cell in cells]
    rows: list[Any] = [
        {name: cells[row] for name, cells in json_columns.items()} for row in range(num_rows)
    ]
    if draw(st.booleans()):
        rows = [list(row.values()) for row in rows]
    else:
        rows = [{k: v for k, v in reversed(row.items()) if v is not None} for row in rows]
    return pl.DataFrame(stored), pl.DataFrame(spelt), json.loads(json.dumps(rows))


@settings(max_examples=25, deadline=None)
@given(tables())
def test_a_value_means_the_same_however_it_arrives(
    table: tuple[pl.DataFrame, pl.DataFrame, list[Any]],
) -> None:
    stored, spelt, rows = table
    encoder = fit(stored, {name: column[0] for name, column in COLUMNS.items()})
    matrix = encoder.encode(stored)
    for same in (encoder.encode(spelt), encoder.encode(encoder.frame_of(rows))):
        np.testing.assert_array_equal(same, matrix)
        assert same.tobytes() == matrix.tobytes()
    alone = encoder.encode(encoder.frame_of(rows[-1:]))
    assert alone.tobytes() == matrix[-1:].tobytes()
    kept = Encoder.model_validate_json(encoder.model_dump_json())
    assert kept == encoder
    assert kept.encode(stored).tobytes() == matrix.tobytes()


@pytest.mark.parametrize("values", [[3, 4, None], [3.0, 4.0, None], ["3", "4", None]])
def test_three_is_one_category_however_it_is_written(values: list[Any]) -> None:
    encoder = fit_one(values, "categorical")
    assert encoder.features[0].categories == ("3", "4")  # type: ignore[union-attr]
    assert rows_one(encoder, [3, 3.0, "3", "3.0", "3e0", " 3", 4]) == [1, 1, 1, 1, 1, 1, 2]
    for column in ([3], [3.0], ["3"], ["3.0"]):
        assert encode_one(encoder, column) == [1]


def test_text_that_training_saw_is_not_taken_for_a_number() -> None:
    encoder = fit_one(["007", "07", "7.0", "1.10", "1.1"], "categorical")
    assert encoder.features[0].categories == ("007", "07", "1.1", "1.10", "7.0")  # type: ignore[union-attr]
    assert encode_one(encoder, ["007", "07", "7.0", "1.1", "1.10"]) == [1, 2, 5, 3, 4]
    assert encode_one(encoder, ["7", "0007"]) == [1, 1]  # the first that spells 7
    assert rows_one(encoder, [7, 1.1]) == [1, 3]


def test_text_in_training_is_found_again_where_a_file_holds_nothing_but_numbers_or_dates() -> None:
    encoder = fit_one(["1.0", "TRUE", "31.12.2024", "none"], "categorical")
    assert encode_one(encoder, [1, 2]) == [1, 0]
    assert encode_one(encoder, [True, False]) == [3, 0]
    assert encode_one(encoder, [dt.datetime(2024, 12, 31), dt.datetime(2024, 12, 30)]) == [2, 0]


def test_real_numbers_are_categories_of_their_own() -> None:
    encoder = fit_one([1.5, 1.0, 1e300, -0.0, 1e-7], "categorical")
    assert encoder.cardinalities == (6,)
    same = [encode_one(encoder, column) for column in ([1.5, 1.0, 0.0], ["15e-1", "1", "-0"])]
    assert same[0] == same[1]
    assert len(set(same[0])) == 3
    assert encode_one(encoder, [1.25, 0.5]) == [0, 0]


def test_whole_numbers_beyond_the_exact_range_of_floats_stay_apart() -> None:
    encoder = fit_one([2**53, 2**53 + 1], "categorical")
    assert encode_one(encoder, [str(2**53), str(2**53 + 1)]) == [1, 2]
    assert rows_one(encoder, [2**53, 2**53 + 1, 1.5, 2**70]) == [1, 2, 0, 0]


def test_white_space_around_a_category_does_not_count() -> None:
    encoder = fit_one([" a", "a", " b ", "\tb", "01", "1", " ", ""], "categorical")
    (feature,) = encoder.features
    assert isinstance(feature, CategoricalFeature)
    assert feature.categories == ("01", "1", "a", "b")
    assert encode_one(encoder, ["a", " a", "a ", "b", " 01", " 1 ", "01.0", " "]) == [
        *(3, 3, 3, 4, 1, 2, 1, 0),
    ]
    # The first release kept white space, and such a category is still what it was.
    old = feature.model_dump() | {"categories": (" a", "a")}
    stored = CategoricalFeature.model_validate(old)
    assert stored.codes(pl.Series([" a", "a", "a "])).tolist() == [1, 2, 2]


def test_a_row_does_not_see_its_company() -> None:
    encoder = fit_one(["3", "3.0", "x"], "categorical")
    assert rows_one(encoder, [3.0]) == rows_one(encoder, [3.0, "x"])[:1] == [1]


# What the matrix holds.


def test_values_come_first_and_codes_after() -> None:
    frame = pl.DataFrame(
        {
            "city": ["b", "a", None],
            "age": [30, 31, 32],
            "when": [dt.datetime(1970, 1, 2, 12), dt.datetime(1970, 1, 3), None],
            "vip": [True, None, False],
            "level": [2, 1, 2],
        }
    )
    encoder = fit(
        frame,
        {
            "city": "categorical",
            "age": "numeric",
            "when": "datetime",
            "vip": "boolean",
            "level": "categorical",
        },
    )
    matrix = encoder.encode(frame)
    nan = math.nan
    np.testing.assert_array_equal(
        matrix,
        [
            [30, 1.5, 2, 5, 12, 1, 2, 2],
            [31, 2.0, 3, 6, 0, nan, 1, 1],
            [32, nan, nan, nan, nan, 0, 0, 2],
        ],
    )
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous
    assert encoder.value_names == [
        "age", "when.days", "when.day", "when.weekday", "when.hour", "vip"
    ]  # fmt: skip
    assert encoder.num_values == 6
    assert encoder.cardinalities == (3, 3)
    assert encoder.num_columns == 8
    assert encoder.may_be_missing == ("when", "vip")
    places = {name: encoder.columns_of(name) for name in frame.columns}
    assert places == {"city": [6], "age": [0], "when": [1, 2, 3, 4], "vip": [5], "level": [7]}


def test_other_columns_are_ignored_and_their_order_does_not_count() -> None:
    encoder = fit({"a": [1], "b": [2]}, {"b": "numeric", "a": "numeric"})
    frame = pl.DataFrame({"z": [["nested"]], "a": [5], "b": [6]})
    assert encoder.encode(frame).tolist() == [[6, 5]]


def test_no_rows_are_a_matrix_without_rows() -> None:
    types: dict[str, FeatureType] = {name: column[0] for name, column in COLUMNS.items()}
    frame = pl.DataFrame(schema={name: column[1] for name, column in COLUMNS.items()})
    encoder = fit(frame, types)
    assert encoder.encode(frame).shape == (0, encoder.num_columns)
    assert encoder.encode(encoder.frame_of([])).shape == (0, encoder.num_columns)


def test_days_have_a_fraction_and_a_date_that_never_varies_is_days_alone() -> None:
    encoder = fit_one([dt.datetime(2024, 2, 29, 6)], "datetime")
    assert encoder.value_names == ["x.days"]
    assert encode_one(encoder, [dt.datetime(1969, 12, 31, 6)]) == [-0.75]


def test_parts_of_a_date_are_those_of_utc() -> None:
    times = [dt.datetime(2024, 12, 31, 23, 59, 59, 999_999), dt.datetime(2023, 1, 1)]
    encoder = fit_one(times, "datetime")
    assert encoder.value_names == [
        f"x.{part}" for part in ("days", "year", "month", "day", "weekday", "hour", "minute")
    ]
    matrix = encoder.encode(encoder.frame_of([["2025-01-01T01:30:00+05:00"]]))
    assert matrix[0, 1:].tolist() == [2024, 12, 31, 2, 20, 30]


def test_words_are_counted_by_their_hash_whatever_their_case() -> None:
    encoder = fit({"x": ["-"]}, {"x": "text"}, PreprocessingConfig(text_buckets=32))
    values = encoder.encode(pl.DataFrame({"x": ["Fish, fish & PEAS", "...", None, "NA", "7"]}))
    expected = np.zeros(32)
    expected[zlib.crc32(b"fish") % 32] += 2
    expected[zlib.crc32(b"peas") % 32] += 1
    np.testing.assert_array_equal(values[0], expected / math.sqrt(5))
    assert not values[1:4].any()
    assert values[4].argmax() == zlib.crc32(b"7") % 32


def test_a_long_text_is_words_and_spells_no_number() -> None:
    long = "0" * 2000 + "1"
    encoder = fit_one(["1", long, "x"], "categorical")
    assert encode_one(encoder, [long, f" {long} ", "0" * 900 + "1", "0" + long]) == [1, 1, 2, 0]


def test_the_most_frequent_categories_are_kept_and_equally_frequent_ones_by_name() -> None:
    encoder = fit_one([*"ddbbca", None, None, None], "categorical", max_categories=3)
    assert encoder.features[0].categories == ("a", "b", "d")  # type: ignore[union-attr]
    assert encode_one(encoder, [*"abcd", None, "e"]) == [1, 2, 0, 3, 0, 0]


def test_categories_of_too_few_rows_are_unknown() -> None:
    encoder = fit_one([*"ddbbbca", None, None, None], "categorical", min_frequency=2)
    assert encode_one(encoder, [*"abcd", None]) == [0, 1, 0, 2, 0]
    none = fit_one([*"abc"], "categorical", min_frequency=2)
    assert (none.cardinalities, encode_one(none, ["a", None])) == ((1,), [0, 0])


def test_numbers_and_parts_of_dates_are_told_from_other_values() -> None:
    frame = pl.DataFrame(
        {
            "true": [True, False],
            "when": [dt.datetime(2024, 1, 1), dt.datetime(2024, 2, 1)],
            "note": ["some words", "more"],
            "age": [1.0, 2.0],
            "town": ["a", "b"],
        }
    )
    types = ("boolean", "datetime", "text", "numeric", "categorical")
    encoder = Encoder.fit(
        frame,
        dict(zip(frame.columns, types, strict=True)),
        PreprocessingConfig(text_buckets=2),
    )
    names = [encoder.value_names[index] for index in encoder.number_indices]
    assert names == [name for name in encoder.value_names if name.startswith(("when", "age"))]


def test_missing_and_unseen_categories_have_the_code_zero() -> None:
    words = fit_one(["a", None], "categorical")
    assert encode_one(words, ["a", *MISSING_WORDS, "b", None]) == [1] + [0] * (
        len(MISSING_WORDS) + 2
    )
    numbers = fit_one([1, 2], "categorical")
    assert rows_one(numbers, ["x", None, "NA", 2, 1.5, "inf"]) == [0, 0, 0, 2, 0, 0]
    truths = fit_one([True, False], "categorical")
    assert rows_one(truths, ["maybe", None, True, "FALSE", 2]) == [0, 0, 2, 1, 0]
    times = fit_one([dt.datetime(2024, 1, 1)], "categorical")
    assert rows_one(times, ["2024-01-01", "2024-01-02", None]) == [1, 0, 0]


def test_a_word_for_missing_is_a_category_where_training_kept_it_as_one() -> None:
    encoder = fit_one(["NA", "DE"], "categorical")  # the Namibia of a file with other words
    assert encode_one(encoder, ["NA", "DE", "NaN"]) == [2, 1, 0]


def test_fit_looks_at_the_training_rows_alone() -> None:
    frame = pl.DataFrame({"c": ["a", "b", "c"], "n": [1, 2, None], "x": ["left", "out", None]})
    types: dict[str, FeatureType] = {"c": "categorical", "n": "numeric"}
    assert fit(frame[:2], types) == fit(frame[:2].clone(), types)
    assert fit(frame[:2], types).cardinalities == (3,)
    assert fit(frame[:2], types).may_be_missing == ()


# Numbers, truth values and dates as text.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e5", 1e5), ("+3", 3), ("-.5", -0.5), ("5.", 5), (" 7 ", 7), ("1E-3", 0.001), ("007", 7),
        ("9007199254740993", 2.0**53), ("1" * 40, float("1" * 40)), ("True", 1), ("FALSE", 0),
        ("-0", 0.0), ("1e-400", 0.0), (" NaN", None), ("", None), ("-nan", None),
    ],
)  # fmt: skip
def test_numbers_are_read_from_text(text: str, value: float | None) -> None:
    encoder = fit_one([1.5, None], "numeric")
    assert encode_one(encoder, [text]) == rows_one(encoder, [text]) == [value]
    assert not np.signbit(encoder.encode(pl.DataFrame({"x": ["-0", "-0.0"]}))).any()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-12-31", dt.datetime(2024, 12, 31)),
        ("31.12.2024", dt.datetime(2024, 12, 31)),
        ("1.2.2024", dt.datetime(2024, 2, 1)),
        ("2024/12/31", dt.datetime(2024, 12, 31)),
        ("2024-12-31T10:20", dt.datetime(2024, 12, 31, 10, 20)),
        (" 31.12.2024 9:05 ", dt.datetime(2024, 12, 31, 9, 5)),
        ("2024-12-31 10:20:30", dt.datetime(2024, 12, 31, 10, 20, 30)),
        ("2024-12-31t10:20:30.5z", dt.datetime(2024, 12, 31, 10, 20, 30, 500_000)),
        ("2024-12-31T10:20:30.123456789Z", dt.datetime(2024, 12, 31, 10, 20, 30, 123_456)),
        ("2024-12-31T23:20:30-01:30", dt.datetime(2025, 1, 1, 0, 50, 30)),
        ("2024-12-31 10:20:30 +0530", dt.datetime(2024, 12, 31, 4, 50, 30)),
        ("2024-12-31T10:20:30+02", dt.datetime(2024, 12, 31, 8, 20, 30)),
    ],
)
def test_dates_are_read_from_text(text: str, moment: dt.datetime) -> None:
    encoder = fit_one([dt.datetime(2024, 1, 1), None], "datetime")
    days = (moment - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)
    assert encode_one(encoder, [text]) == rows_one(encoder, [text]) == [days]


def test_a_date_with_slashes_is_read_by_the_whole_column() -> None:
    encoder = fit_one([dt.datetime(1970, 1, 1)], "datetime")
    assert encode_one(encoder, ["13/02/1970", "02/02/1970"]) == [43, 32]
    assert encode_one(encoder, ["02/13/1970", "02/01/1970"]) == [43, 31]
    assert encode_one(encoder, ["03/03/1970"]) == [61]
    with pytest.raises(DataError, match="row 2, column 'x': '01/02/1970' may be day/month or") as e:
        encode_one(encoder, ["1970-01-01", "01/02/1970"])
    assert (e.value.row, e.value.column) == (2, "x")
    with pytest.raises(DataError, match="row 2, column 'x': '01/13/1970' is no date"):
        encode_one(encoder, ["13/01/1970", "01/13/1970"])
    with pytest.raises(DataError, match="row 1, column 'x': '13/01/1970' is no date"):
        encoder.frame_of([["13/01/1970"]])  # a row alone cannot settle it


def test_unsettled_dates_are_the_dates_and_the_categories_of_dates() -> None:
    frame = pl.DataFrame(
        {"n": [1, 2], "d": [dt.datetime(2024, 1, 1)] * 2, "c": ["2024-01-01", "x"]}
    ).with_columns(k="d")
    kinds: dict[str, FeatureType] = {
        "k": "categorical",
        "n": "numeric",
        "d": "datetime",
        "c": "categorical",
    }
    assert fit(frame, kinds).datetime_columns == ("k", "d")


def test_a_category_of_dates_is_read_as_a_date_is() -> None:
    encoder = fit_one([dt.datetime(1970, 1, 1), dt.datetime(1970, 2, 13)], "categorical")
    assert encoder.features[0].categories == ("1970-01-01", "1970-02-13")  # type: ignore[union-attr]
    assert encode_one(encoder, ["13/02/1970", "01/01/1970", "unheard of"]) == [2, 1, 0]
    assert rows_one(encoder, ["13/02/1970", "13.2.1970", "1970-02-13T02:00+02:00"]) == [0, 2, 2]


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt64, pl.Int128, pl.Float32, pl.Decimal(10, 2), pl.String]
)
def test_numbers_of_any_dtype_are_read(dtype: Any) -> None:
    numeric, category = fit_one([1, 2], "numeric"), fit_one([1, 2], "categorical")
    column = pl.Series([2, 1]).cast(dtype)
    assert encode_one(numeric, column, dtype) == [2, 1]
    assert encode_one(category, column, dtype) == [2, 1]


def test_dates_and_categories_of_any_dtype_are_read() -> None:
    date = pl.Series([dt.date(1970, 1, 2)])
    encoder = fit_one([dt.datetime(1970, 1, 1)], "datetime")
    zoned = date.cast(pl.Datetime("ns")).dt.replace_time_zone("Asia/Tokyo")
    assert encode_one(encoder, date, pl.Date) == [1]
    assert encode_one(encoder, zoned, zoned.dtype) == [1 - 9 / 24]
    assert encode_one(fit_one(["a", "b"], "categorical"), ["b"], pl.Categorical) == [2]
    assert encode_one(fit_one([1, None], "numeric"), [None], pl.Null) == [None]
    assert encode_one(fit_one([1, None], "numeric"), [1, "2", None], pl.Object) == [1, 2, None]
    text = fit_one(["3"], "text")
    for column in ([3], [3.0], ["3"]):
        assert (
            text.encode(pl.DataFrame({"x": column})) == text.encode(pl.DataFrame({"x": ["3"]}))
        ).all()


def test_rows_may_hold_what_python_and_numpy_call_numbers_and_dates() -> None:
    numeric, time = fit_one([1.5], "numeric"), fit_one([dt.datetime(1970, 1, 1)], "datetime")
    frame = numeric.frame_of([[np.float32(0.5)], [np.int64(3)], [np.True_]])
    assert numeric.encode(frame).tolist() == [[0.5], [3], [1]]
    zone = dt.timezone(dt.timedelta(hours=12))
    frame = time.frame_of([[dt.date(1970, 1, 2)], [dt.datetime(1970, 1, 2, tzinfo=zone)]])
    assert time.encode(frame).tolist() == [[1], [0.5]]


# What is refused, and where.


@pytest.mark.parametrize(
    ("kind", "seen", "values", "message"),
    [
        ("numeric", [1], ["1", "NA"], "a value is missing, and no row of"),
        ("numeric", [1], [1, None], "a value is missing, and no row of"),
        ("numeric", [1], [1.5, math.nan], "a value is missing, and no row of"),
        ("numeric", [1, None], ["1", "abc"], "'abc' is no number"),
        ("numeric", [1, None], ["NA", "1_000"], "'1_000' is no number"),
        ("numeric", [1], ["1", "x" * 100], f"'{'x' * 60}'... is no number"),
        ("numeric", [1], [1.5, math.inf], "inf is infinite"),
        ("numeric", [1], ["1", "-1e999"], "'-1e999' is infinite"),
        ("boolean", [True], ["true", "yes"], "'yes' is no truth value"),
        ("boolean", [True], ["1", "2"], "'2' is no truth value"),
        ("boolean", [True], [1, 2], "2 is no truth value"),
        ("boolean", [True], ["true", "?"], "a value is missing, and no row of"),
        ("datetime", [dt.datetime(2024, 1, 1)], ["2024-01-01", "5"], "'5' is no date"),
        ("datetime", [dt.datetime(2024, 1, 1)], ["2024-01-01", "2023-02-30"], "'2023-02-30' is no"),
        ("datetime", [dt.datetime(2024, 1, 1)], ["2024-01-01", "2024-01-01T24:00"], "is no date"),
        (
            "datetime",
            [dt.datetime(2024, 1, 1)],
            ["2024-01-01", "9999-12-31T23:00-02"],
            "is no date",
        ),
        (
            "datetime",
            [dt.datetime(2024, 1, 1)],
            ["2024-01-01", "2024-01-01T\uff10\uff10:00"],
            "is no",
        ),
        ("datetime", [dt.datetime(2024, 1, 1)], ["2024-01-01", ""], "a value is missing, and"),
        ("datetime", [dt.datetime(2024, 1, 1), None], [None, 5], "5 is no date"),
    ],
)
def test_a_cell_that_cannot_be_encoded_is_named_with_its_place(
    kind: FeatureType, seen: list[Any], values: list[Any], message: str
) -> None:
    encoder = fit({"a": seen, "x": seen}, {"a": kind, "x": kind})
    good = [values[0] if values[0] is not None else values[1]] * 2 if kind != "datetime" else None
    first = pl.Series(good if good else ["2024-01-01"] * 2)
    with pytest.raises(DataError, match="row 2, column 'x'") as error:
        encoder.encode(pl.DataFrame({"a": first, "x": values}))
    assert (error.value.row, error.value.column) == (2, "x")
    assert message in str(error.value)


def test_a_date_is_no_number() -> None:
    with pytest.raises(DataError, match="row 1, column 'x': 2024-01-01 00:00:00 is no number"):
        encode_one(fit_one([1], "numeric"), [dt.datetime(2024, 1, 1)])


def test_what_training_never_missed_may_be_missing_where_that_is_allowed() -> None:
    encoder = fit_one([1, 2], "numeric")
    matrix = encoder.encode(pl.DataFrame({"x": [None, 3]}), refuse_missing=False)
    np.testing.assert_array_equal(matrix, [[math.nan], [3]])


def test_other_words_for_missing_can_be_given() -> None:
    encoder = fit_one([1, None], "numeric")
    frame = pl.DataFrame({"x": ["!", "1", ""]})
    values = encoder.for_text(missing=("!",)).encode(frame)
    np.testing.assert_array_equal(values, [[math.nan], [1], [math.nan]])
    with pytest.raises(DataError, match="row 1, column 'x': '!' is no number"):
        encoder.encode(frame)


@pytest.mark.parametrize(
    ("kind", "seen", "texts", "word", "expected"),
    [
        ("numeric", [1, None], ["1", "-999", " -999.0", "NA", "-998"], "-999", [1, -998.0]),
        ("numeric", [1, None], ["1", "true", "true ", "", "0"], "true", [1, 0]),
        ("numeric", [1, None], ["1", "inf", "inf", "inf", "2"], "inf", [1, 2]),
        ("boolean", [True, None], ["1", "0", " 0", "NA", "false"], "0", [1, 0]),
        (
            "datetime",
            [dt.datetime(1970, 1, 1), None],
            ["1970-01-02", "1900-01-01", "1900-01-01 ", "NA", "1970-01-03"],
            "1900-01-01",
            [1, 2],
        ),
        (
            "datetime",
            [dt.datetime(1970, 1, 1), None],
            ["13/01/1970", "1/2/1900", "1/2/1900", "NA", "14/01/1970"],
            "1/2/1900",
            [12, 13],
        ),
    ],
)
def test_a_word_for_missing_may_read_as_a_value(
    kind: FeatureType, seen: list[Any], texts: list[str], word: str, expected: list[float]
) -> None:
    encoder = fit_one(seen, kind)
    values = encoder.for_text(missing=("", word, "NA")).encode(pl.DataFrame({"x": texts}))[:, 0]
    first, last = expected
    np.testing.assert_array_equal(values, [first, math.nan, math.nan, math.nan, last])
    with pytest.raises(DataError, match="row 2, column 'x': a value is missing"):
        fit_one(seen[:1], kind).for_text(missing=(word, "NA")).encode(pl.DataFrame({"x": texts}))


def test_a_column_that_is_not_there_or_holds_no_cells_is_named() -> None:
    encoder = fit_one([1], "numeric")
    with pytest.raises(DataError, match="column 'x': the data has no such column"):
        encoder.encode(pl.DataFrame({"y": [1]}))
    with pytest.raises(
        DataError, match=r"column 'x': values of type List\(Int64\) are not supported"
    ):
        encoder.encode(pl.DataFrame({"x": [[1]]}))
    with pytest.raises(DataError, match="column 'z': the data has no such column"):
        fit({"x": [1]}, {"z": "numeric"})


ROWS = fit(
    {"n": [1, None], "c": ["a", "b"], "b": [True, None], "w": [dt.datetime(2024, 1, 1), None]},
    {"n": "numeric", "c": "categorical", "b": "boolean", "w": "datetime"},
)
GOOD = {"n": 1, "c": "a", "b": True, "w": "2024-01-01"}


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ([1, "a", True], None, "3 values for 4 features"),
        ([1, "a", True, None, 5], None, "5 values for 4 features"),
        ("1,a,true", None, "a row has to be an array or an object"),
        (None, None, "a row has to be an array or an object"),
        ({"n": 1, "colour": "red"}, "colour", "the model knows no such column"),
        ({**GOOD, "n": [1]}, "n", "a value has to be a number, a string, true, false or null"),
        ({**GOOD, "c": {"a": 1}}, "c", "a value has to be a number, a string, true, false or null"),
        ({**GOOD, "c": "\ud800"}, "c", "the text is not Unicode"),
        ({**GOOD, "n": "abc"}, "n", "'abc' is no number"),
        ({**GOOD, "n": 10**400}, "n", "is infinite"),
        ({**GOOD, "n": -(10**5000)}, "n", "is infinite"),
        ({**GOOD, "b": 2}, "b", "2.0 is no truth value"),
        ({**GOOD, "b": "no"}, "b", "'no' is no truth value"),
        ({**GOOD, "w": 19_000}, "w", "'19000' is no date"),
        ({**GOOD, "w": True}, "w", "'true' is no date"),
        ({**GOOD, "w": "yesterday"}, "w", "'yesterday' is no date"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_place(
    row: Any, column: str | None, message: str
) -> None:
    with pytest.raises(DataError) as error:
        ROWS.encode(ROWS.frame_of([GOOD, list(GOOD.values()), row]))
    assert (error.value.row, error.value.column) == (3, column)
    assert message in str(error.value)


def test_absent_names_and_null_are_missing() -> None:
    absent: dict[str, Any] = {}
    null = dict.fromkeys(GOOD)
    matrix = ROWS.encode(ROWS.frame_of([absent, null]))
    np.testing.assert_array_equal(matrix, [[math.nan, math.nan, math.nan, 0]] * 2)


def test_a_row_may_have_all_the_columns_that_the_training_rows_had() -> None:
    rows = pl.DataFrame({"id": ["a", "b"], "n": [1.0, 2.0], "same": [0, 0], "m": [3.0, 5.0]})
    encoder = Encoder.fit(rows, {"m": "numeric", "n": "numeric"}, PreprocessingConfig())
    expected = [[5.0, 2.0]]
    for row in (
        [5, 2],
        ["b", 2, 0, 5],
        {"n": 2, "m": 5},
        {"id": "b", "m": 5, "n": 2, "same": 0},
        {"n": 2, "m": 5, "target": "yes"},
    ):
        frame = encoder.frame_of([row], ignored=["target"])
        assert encoder.encode(frame).tolist() == expected
    with pytest.raises(DataError, match="3 values for 2 features"):
        encoder.frame_of([[1, 2, 3]])
    with pytest.raises(DataError, match="column 'target': the model knows no such column"):
        encoder.frame_of([{"target": 1}])


NUMBERS = [0.0, -0.0, 1.0, 2.5, -1e308, 1e308, 5e-324, math.inf, -math.inf, math.nan]


@given(
    kinds=st.lists(st.sampled_from(["numeric", "boolean"]), min_size=1, max_size=3),
    gaps=st.lists(st.booleans(), min_size=3, max_size=3),
    refuse_missing=st.booleans(),
    data=st.data(),
)
def test_a_table_of_numbers_is_encoded_as_any_other(
    kinds: list[FeatureType], gaps: list[bool], refuse_missing: bool, data: st.DataObject
) -> None:
    names = [f"x{index}" for index in range(len(kinds))]
    seen = pl.DataFrame(
        {name: [0.0, 1.0, None if gap else 1.0] for name, gap in zip(names, gaps, strict=False)}
    )
    encoder = Encoder.fit(seen, dict(zip(names, kinds, strict=True)), PreprocessingConfig())
    row = st.lists(st.sampled_from(NUMBERS), min_size=len(names), max_size=len(names))
    numbers = np.array(data.draw(st.lists(row, min_size=1, max_size=4)))
    frame = pl.DataFrame(numbers, schema=names, orient="row")
    assert encoder.is_numeric
    assert outcome(encoder.encode_numbers, numbers, refuse_missing=refuse_missing) == outcome(
        encoder.encode, frame, refuse_missing=refuse_missing
    )


def outcome(encode: Callable[..., Any], table: Any, *, refuse_missing: bool) -> bytes | str:
    """The matrix, or why there is none."""
    try:
        matrix: bytes = encode(table, refuse_missing=refuse_missing).tobytes()
    except DataError as error:
        return str(error)
    return matrix
