"""What a model remembers of its table: the same text means the same in files and in JSON."""

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from dropout_core.config import FeatureType, PreprocessingConfig, ProblemConfig, SplitConfig
from dropout_core.data.declared_types import unreadable_cells
from dropout_core.data.encoder import Encoder
from dropout_core.data.formats import DateFormat, NumberFormat
from dropout_core.data.reading import FIRST_MISSING_WORDS, Reading
from dropout_core.errors import DataError
from dropout_core.pipeline.encoded_split import encode_split
from dropout_core.pipeline.resolved_table import resolve_table

MONTH = "month first"
DAY = dt.datetime(2023, 3, 2)
COMMAS = NumberFormat(decimal=",", thousands=".")
READING = Reading(
    formats={"price": COMMAS, "size": COMMAS, "when": DateFormat(pattern="day first")},
    missing=("", "tbd"),
)
TYPES: dict[str, FeatureType] = {"price": "numeric", "size": "categorical", "when": "datetime"}
STORED = pl.DataFrame(
    {"price": [1745.71, 0.5], "size": [1234.0, 2.5], "when": [DAY, DAY.replace(day=3)]}
)


def fitted(frame: pl.DataFrame = STORED, **fields: Any) -> Encoder:
    fields = {"reading": READING, **fields}
    types = {name: TYPES[name] for name in frame.columns}
    encoder = Encoder.fit(frame, types, PreprocessingConfig(), **fields)
    return Encoder.model_validate_json(encoder.model_dump_json())


def encoded_rows(encoder: Encoder, rows: list[Any]) -> list[list[float]]:
    values: list[list[float]] = encoder.encode(encoder.frame_of(rows)).tolist()
    return values


def test_text_is_read_as_it_was_written_in_the_table() -> None:
    encoder = fitted()
    expected = encoder.encode(STORED).tolist()
    cells = {
        "price": ["1.745,71", "0,5"],
        "size": ["1.234", "2,5"],
        "when": ["02/03/2023", " 03/03/2023"],
    }
    assert encoder.encode(pl.DataFrame(cells)).tolist() == expected
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    assert encoded_rows(encoder, rows) == expected
    mixed = [rows[0], {"price": 0.5, "size": 2.5, "when": "2023-03-03"}]
    assert encoded_rows(encoder, mixed) == expected
    with pytest.raises(DataError, match=r"column 'when': '12/25/2023' is no date"):
        encoder.frame_of([{**rows[0], "when": "12/25/2023"}])
    with pytest.raises(DataError, match=r"row 2, column 'price': '1,5,5' is no number"):
        encoder.frame_of([rows[0], {**rows[0], "price": "1,5,5"}])


def test_options_say_how_another_file_is_written() -> None:
    encoder = fitted()
    formats = {"price": NumberFormat(), "size": NumberFormat(), "when": DateFormat(pattern=MONTH)}
    other = encoder.for_text(missing=("n.d.",), formats=formats)
    cells = {"price": ["1745.71", "0.5"], "size": ["1234", "2.5"], "when": ["3/2/2023", "3/3/2023"]}
    assert other.encode(pl.DataFrame(cells)).tolist() == encoder.encode(STORED).tolist()


def test_the_words_for_a_missing_value_are_those_of_the_table() -> None:
    encoder = fitted(STORED.with_columns(price=pl.Series([1.0, None])))
    cells = pl.DataFrame({"price": ["tbd"], "size": ["tbd"], "when": ["2023-03-02"]})
    [[price, *_, size]] = encoder.encode(cells).tolist()
    assert price != price
    assert size == 0
    with pytest.raises(DataError, match="'NA' is no number"):
        encoder.encode(cells.with_columns(price=pl.Series(["NA"])))


def test_an_encoder_of_an_earlier_release_reads_as_it_did() -> None:
    feature = {"type": "numeric", "name": "x", "may_be_missing": False}
    old = json.dumps({"features": [feature], "columns": ["x"]}, separators=(",", ":"))
    encoder = Encoder.model_validate_json(old)
    assert encoder.missing == FIRST_MISSING_WORDS
    assert encoder.model_dump_json() == old


def test_a_hole_is_accepted_where_the_table_has_one_in_any_row() -> None:
    holes = STORED.with_columns(price=pl.Series([1.0, None]), when=pl.Series([DAY, None]))
    encoder = fitted(incomplete=("price",))
    assert encoder.incomplete == ("price",)
    assert encoder.may_be_missing == ()
    encoder.encode(STORED.with_columns(holes["price"]))
    with pytest.raises(DataError, match=r"row 2, column 'when': a value is missing, and no row"):
        encoder.encode(STORED.with_columns(holes["when"]))
    encoder.encode(holes, refuse_missing=False)


def test_a_table_tells_which_columns_miss_a_value_in_rows_that_are_held_out() -> None:
    parts = ["train"] * 8 + ["validation", "test"]
    frame = pl.DataFrame({"x": [*range(9), None], "part": parts, "y": [0.5, 1.5] * 5})
    problem = ProblemConfig(target="y", split=SplitConfig(kind="column", column="part"))
    table = resolve_table(frame, problem)
    encoder = encode_split(table, table.split, PreprocessingConfig()).encoder
    assert (encoder.may_be_missing, encoder.incomplete) == ((), ("x",))


def test_a_column_of_text_is_read_by_force_where_the_job_says_so() -> None:
    incomes = [*map(str, range(100, 119)), "tbd"]
    frame = pl.DataFrame({"income": incomes, "y": [0.5, 1.5] * 10})
    problem = ProblemConfig(target="y", types={"income": "numeric"})
    table = resolve_table(frame, problem)
    assert table.frame["income"].to_list() == [*map(float, range(100, 119)), None]
    encoder = encode_split(table, table.split, PreprocessingConfig()).encoder
    [[number], [missing]] = encoder.encode(pl.DataFrame({"income": ["105", "tbd"]})).tolist()
    assert number == 105
    assert missing != missing
    assert unreadable_cells(frame["income"], "numeric", reading=Reading()) == (
        "column 'income': 1 of 20 values are no numbers and count as missing, such as 'tbd' in row "
        "20"
    )
    dates = pl.Series("day", ["2024-01-02", "31.12.2024", None, "later"])
    assert "'later' in row 4" in str(unreadable_cells(dates, "datetime", reading=Reading()))
    with pytest.raises(DataError, match="column 'word': none of its values is a number"):
        unreadable_cells(pl.Series("word", ["a", "b"]), "numeric", reading=Reading())


def test_what_is_read_by_force_is_read_so_again() -> None:
    days = ["25/12/2023", "03/04/2023", "soon", "later"] * 5
    prices = ["1.745,71", "2.000", "on request", "?"] * 5
    frame = pl.DataFrame({"when": days, "price": prices, "y": [0.5, 1.5] * 10})
    types: dict[str, FeatureType] = {"when": "datetime", "price": "numeric"}
    table = resolve_table(frame, ProblemConfig(target="y", types=types))
    encoder = encode_split(table, table.split, PreprocessingConfig()).encoder
    rows = encoded_rows(encoder, [{"when": "03/04/2023", "price": "1.745,71"}])
    assert rows == encoded_rows(encoder, [{"when": "2023-04-03", "price": 1745.71}])


def test_a_target_of_text_is_read_by_force_too() -> None:
    frame = pl.DataFrame({"x": range(20), "y": [*map(str, range(19)), "?"]})
    table = resolve_table(frame, ProblemConfig(target="y", types={"y": "numeric"}))
    assert table.task == "regression"
    assert len(table.frame) == 19


def test_an_array_whose_order_is_not_told_is_refused() -> None:
    frame = STORED.select("price", "when")
    types: dict[str, FeatureType] = {"when": "datetime", "price": "numeric"}
    encoder = Encoder.fit(frame, types, PreprocessingConfig())
    with pytest.raises(DataError, match=r"row 2: .* send the row as an object"):
        encoder.frame_of([{"price": 1.0, "when": "2023-03-02"}, ["2023-03-02", 1.0]])
    # Where the lengths differ, the length tells the order.
    wider = Encoder.fit(frame.with_columns(other=pl.Series([1, 2])), types, PreprocessingConfig())
    by_features, by_columns = (
        wider.frame_of([row]).row(0) for row in (["2023-03-02", 1.0], [1.0, "2023-03-02", 7])
    )
    assert by_features == by_columns == (DAY, 1.0)


def test_what_could_not_be_read_in_the_table_is_missing_at_prediction_too() -> None:
    encoder = fitted(
        STORED.select(price=pl.Series([1.0, None])), reading=Reading(lenient=("price",))
    )
    cells = ["5", "tbd", "inf"]
    (column,) = encoder.encode(pl.DataFrame({"price": cells})).T.tolist()
    assert column[0] == 5
    assert all(value != value for value in column[1:])
    assert [row[0] != row[0] for row in encoded_rows(encoder, [[cell] for cell in cells])] == [
        *(False, True, True),
    ]


def test_a_truth_value_that_could_not_be_read_in_the_table_is_missing_at_prediction_too() -> None:
    encoder = Encoder.fit(
        pl.DataFrame({"is_new": [True, None]}),
        {"is_new": "boolean"},
        PreprocessingConfig(),
        reading=Reading(lenient=("is_new",)),
    )
    cells = ["TRUE", "tbd", "2"]
    (column,) = encoder.encode(pl.DataFrame({"is_new": cells})).T.tolist()
    assert column[0] == 1
    assert all(value != value for value in column[1:])
    assert [row[0] != row[0] for row in encoded_rows(encoder, [[cell] for cell in cells])] == [
        *(False, True, True),
    ]


@pytest.mark.parametrize("number", [-999, -999.0, "-999", "-999.0", "-9.99e2"])
def test_a_number_that_stands_for_missing_does_so_however_it_arrives(number: Any) -> None:
    reading = Reading(missing=("", "-999"))
    encoder = Encoder.fit(
        pl.DataFrame({"x": [1.0, None]}), {"x": "numeric"}, PreprocessingConfig(), reading=reading
    )
    [[value]] = encoded_rows(encoder, [{"x": number}])
    assert math.isnan(value)
    table = pl.DataFrame({"x": [number]})
    assert math.isnan(encoder.encode(table).item())
    assert math.isnan(encoder.encode_numbers(np.array([[-999.0]])).item())
    with pytest.raises(DataError, match="a value is missing"):
        Encoder.fit(
            pl.DataFrame({"x": [1.0]}), {"x": "numeric"}, PreprocessingConfig(), reading=reading
        ).encode(table)
