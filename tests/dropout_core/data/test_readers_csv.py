import csv
import datetime as dt
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dropout_core.data.dates import parse_dates
from dropout_core.data.formats import NumberFormat
from dropout_core.data.read_options import MISSING_WORDS, ReadOptions
from dropout_core.data.readers import convert
from dropout_core.data.readers.dialect import SAMPLE_BYTES
from dropout_core.data.readers.table import Contents
from dropout_core.errors import DataError


def convert_bytes(
    folder: Path, content: str | bytes, *, as_text: bool = False, **options: Any
) -> tuple[dict[str, list[Any]], Contents]:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    _, contents = convert([path], folder / "table", options=ReadOptions(**options), as_text=as_text)
    return pl.read_parquet(folder / "table").to_dict(as_series=False), contents


DAY, SILVESTER = dt.datetime(2024, 2, 1), dt.datetime(2024, 12, 31)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\n1,2\n3,4", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\r\n1,2\r\n3,4\r\n", {"a": [1, 3], "b": [2, 4]}),
        ("\ufeffa,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a,b\n1.5,x\n-2e3,y\n", {"a": [1.5, -2000.0], "b": ["x", "y"]}),
        ("a,b\n1,true\n2,FALSE\n", {"a": [1, 2], "b": [True, False]}),
        ("a,b\n 1,x\n2 , y\n3,\t\n", {"a": [1, 2, 3], "b": ["x", "y", None]}),
        ("a,b\n1,-\n2,+\n-,-\n", {"a": [1, 2, None], "b": ["-", "+", "-"]}),
        ('a,b\n1,"x\ny"\n2,"p\r\n\r\nq"\n', {"a": [1, 2], "b": ["x\ny", "p\r\n\r\nq"]}),
        ('a,b\n1,"x, ""y"""\n', {"a": [1], "b": ['x, "y"']}),
        ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
        ("a,b\n,2\n1,\n", {"a": [None, 1], "b": [2, None]}),
        ('a,b\n1,""\n2,x\n', {"a": [1, 2], "b": [None, "x"]}),
        ("a,b\n1,é\n", {"a": [1], "b": ["é"]}),
        ("a,b\n9007199254740993,x\n", {"a": [9007199254740993], "b": ["x"]}),
        ("PK,b\n1,2\n", {"PK": [1], "b": [2]}),
        ("a,b\n1,NA\n2,None\n3,x\n", {"a": [1, 2, 3], "b": [None, None, "x"]}),
        ("a,b\n1.0,2.0\n,0.0\n-0.0,1.0\n", {"a": [1, None, 0], "b": [2.0, 0.0, 1.0]}),
        ("a,b\n1.0,2.0\n,0.5\n1,\n", {"a": [1.0, None, 1.0], "b": [2.0, 0.5, None]}),
        ("a,b\n1,nan\n2,0.5\n3,NAN\n", {"a": [1, 2, 3], "b": [None, 0.5, None]}),
        ("zip,b\n007,01.5\n010,2\n", {"zip": ["007", "010"], "b": [1.5, 2.0]}),
        ("a,b\n18446744073709551616,x\n0.5,y\n", {"a": [2.0**64, 0.5], "b": ["x", "y"]}),
        ("*,^b$\n1,2\n", {"*": [1], "^b$": [2]}),
        (" a ,b\n1,2\n", {"a": [1], "b": [2]}),
    ],
)
def test_a_csv_is_read(tmp_path: Path, text: str, columns: dict[str, list[Any]]) -> None:
    found, contents = convert_bytes(tmp_path, text)
    assert found == columns
    assert contents.warnings == ()


@pytest.mark.parametrize(
    ("cells", "moments"),
    [
        (["2024-02-01", "2024-12-31"], [DAY, SILVESTER]),
        (["2024-02-01T00:00:00", "2024-12-31"], [DAY, SILVESTER]),
        (["2024-02-01 02:00:00+02:00", "2024-12-31T00:00Z"], [DAY, SILVESTER]),
        (["2024-02-01 00:00:00 UTC", "2024-12-31 00:00 GMT"], [DAY, SILVESTER]),
        (["2024-02-01T00:00:00.250Z"], [DAY.replace(microsecond=250_000)]),
        (["01.02.2024", "31.12.2024"], [DAY, SILVESTER]),
        (["1.2.2024 08:30", "NA"], [DAY.replace(hour=8, minute=30), None]),
        (["2024/02/01", "2024/12/31"], [DAY, SILVESTER]),
        (["1/2/2024", "31/12/2024"], [DAY, SILVESTER]),
        (["2/1/2024", "12/31/2024"], [DAY, SILVESTER]),
        (["2/1/24", "12/31/24"], [DAY, SILVESTER]),
        (["01-02-2024", "31-12-2024"], [DAY, SILVESTER]),
        (["02-01-2024", "12-31-2024"], [DAY, SILVESTER]),
        (["01.02.24", "31.12.24"], [DAY, SILVESTER]),
        (["2024.02.01", "2024.12.31"], [DAY, SILVESTER]),
        (['"Feb 01, 2024"', '"December 31, 2024"'], [DAY, SILVESTER]),
        (["01-Feb-2024", "31-dec-24"], [DAY, SILVESTER]),
        (['"Thu, 01 Feb 2024 01:00:00 +0100"', "31 DEC 2024"], [DAY, SILVESTER]),
        (["2/1/2024 08:30 AM", "12/31/2024"], [DAY.replace(hour=8, minute=30), SILVESTER]),
        (["2/1/24 8:30:15pm", "12/31/24"], [DAY.replace(hour=20, minute=30, second=15), SILVESTER]),
        (['"2/1/2024, 12:30 AM"', '"12/31/2024"'], [DAY.replace(minute=30), SILVESTER]),
    ],
)
def test_dates_are_read(tmp_path: Path, cells: list[str], moments: list[Any]) -> None:
    found, contents = convert_bytes(tmp_path, "\n".join(["when", *cells]))
    assert found == {"when": moments}
    assert contents.warnings == ()


@pytest.mark.parametrize("cell", ["24-02-01", "0000-01-01", "31.12.4", "2024-1", "12:30", "1/2/3"])
def test_what_only_looks_like_a_date_is_text(tmp_path: Path, cell: str) -> None:
    assert convert_bytes(tmp_path, f"when\n{cell}\n")[0] == {"when": [cell]}


@pytest.mark.parametrize(
    "cell",
    [
        "2016-12-31T23:59:60",
        "2016-12-31 23:59:60.5",
        "2016-12-31T23:59:60Z",
        "2017-01-01T01:29:60.25+01:30",
        "31.12.2016 23:59:60",
        "2016/12/31 9:05:60",
        "13/12/2016 23:59:60",
        "2016-12-31T23:59:61",
        "2016-12-31T23:60:00",
        "2016-12-31T24:00:00",
        "9999-12-31T23:59:60",
        "31.12.9999 23:59:60.5",
        "9999-12-31T23:59:60Z",
        "2016-12-31T23:59:59.123456789",
        "1-1-1",
    ],
)
def test_a_date_is_read_as_it_is_in_a_prediction(tmp_path: Path, cell: str) -> None:
    found, _ = convert_bytes(tmp_path, f"when\n{cell}\n")
    (moment,) = parse_dates(pl.Series([cell]))
    assert found == {"when": [cell if moment is None else moment]}


GERMAN = NumberFormat(decimal=",", thousands=".")


@pytest.mark.parametrize(
    ("cells", "numbers", "format_"),
    [
        (["1.745,71", "2,5", "12"], [1745.71, 2.5, 12.0], GERMAN),
        (["1,745.71", "2.5"], [1745.71, 2.5], NumberFormat(thousands=",")),
        (["1,5", "2,25"], [1.5, 2.25], NumberFormat(decimal=",")),
        (["2,429", "12"], [2429, 12], NumberFormat(thousands=",")),
        (["1.234.567", "12"], [1234567, 12], GERMAN),
        (["1 234,5", "1\u202f234"], [1234.5, 1234.0], NumberFormat(decimal=",", thousands=" ")),
        (["1'234", "7"], [1234, 7], NumberFormat(thousands="'")),
        (["$1,234.50", "-$7", "(3)"], [1234.5, -7.0, -3.0], NumberFormat(thousands=",")),
        (["45%", "7.5 %", "-1%"], [0.45, 0.075, -0.01], None),
        (["\u22125", "5 €"], [-5, 5], None),
        (["1.234", "2.500"], [1.234, 2.5], None),
        (["1e3", "2.5"], [1000.0, 2.5], None),
        (["1,23,456", "5"], ["1,23,456", "5"], None),
        (["1.2.3", "1.2.4"], ["1.2.3", "1.2.4"], None),
        (["1.5", "2,5"], ["1.5", "2,5"], None),
    ],
)
def test_numbers_are_read_as_people_write_them(
    tmp_path: Path, cells: list[str], numbers: list[Any], format_: NumberFormat | None
) -> None:
    text = "\n".join(["a;b", *(f"{cell};x" for cell in cells)])
    found, contents = convert_bytes(tmp_path, text, delimiter=";")
    assert found["a"] == numbers
    assert contents.formats.get("a") == format_
    padding = "0;x\n" * (SAMPLE_BYTES // 4 + 1)
    if all(isinstance(number, int | float) for number in numbers):
        (tmp_path / "table").unlink()
        found, _ = convert_bytes(tmp_path, f"a;b\n{padding}{text[4:]}", delimiter=";")
        assert found["a"][-len(cells) :] == numbers  # a later row counts as much as the first


@pytest.mark.parametrize(
    ("text", "options", "columns"),
    [
        ("a;b\n1.234;1,5\n56;2,5\n", {}, {"a": [1234, 56], "b": [1.5, 2.5]}),
        ("a;b\n1,234;1,5\n2,345;2,5\n", {}, {"a": [1.234, 2.345], "b": [1.5, 2.5]}),
        ('a;b\n"1,234";1.5\n2;2.5\n', {}, {"a": [1234, 2], "b": [1.5, 2.5]}),
        ("a;b\n1,234;x\n2,5;y\n", {}, {"a": [1.234, 2.5], "b": ["x", "y"]}),
        ("a;b\n1,234;x\n", {"decimal": ","}, {"a": [1.234], "b": ["x"]}),
        ("a;b\n1.234;x\n", {"decimal": ","}, {"a": [1234], "b": ["x"]}),
        ("a;b\n1.234;x\n", {"thousands": "."}, {"a": [1234], "b": ["x"]}),
        ("a;b\n1,234;x\n", {"thousands": ""}, {"a": [1.234], "b": ["x"]}),
        ("a;b\n1.5;1,5\n", {"decimal": ","}, {"a": ["1.5"], "b": [1.5]}),
        ("a;b\n20240201;1\n", {"date_format": "%Y%m%d"}, {"a": [DAY], "b": [1]}),
        ("a;b\n20240231;1\n", {"date_format": "%Y%m%d"}, {"a": [20240231], "b": [1]}),
        ("a;b\n2024 32;1\n", {"date_format": "%Y %j"}, {"a": [DAY], "b": [1]}),
        ("a;b\n1/2/2024;x\n", {"day_first": True}, {"a": [DAY], "b": ["x"]}),
        ("a;b\n2/1/24;x\n", {"day_first": False}, {"a": [DAY], "b": ["x"]}),
        ("a;b\n1/2/2024;31/12/2024\n", {}, {"a": [DAY], "b": [SILVESTER]}),
        ("a;b\n2/1/2024;12/31/2024\n", {}, {"a": [DAY], "b": [SILVESTER]}),
        ("Report\n\na;b\n1;2\n", {"skip_rows": 1}, {"a": [1], "b": [2]}),
        ('#x\na;b\n#1;2\n3;"4\n#5"\n', {"comment": "#"}, {"a": [3], "b": ["4\n#5"]}),
        ("a;b\n007;x\n", {"types": {"a": "numeric"}}, {"a": [7], "b": ["x"]}),
        ("a;b\n1;2\n", {"types": {"a": "categorical", "b": "text"}}, {"a": ["1"], "b": ["2"]}),
        ("a;b\nx;2\n5;y\n", {"types": {"a": "numeric"}}, {"a": [None, 5], "b": ["2", "y"]}),
        ("a;b\nx;1\nTrue;2\n", {"types": {"a": "boolean"}}, {"a": [None, True], "b": [1, 2]}),
        ("a;b\nx;1\n2024-02-01;2\n", {"types": {"a": "datetime"}}, {"a": [None, DAY], "b": [1, 2]}),
    ],
)  # fmt: skip
def test_separators_and_types_are_those_of_the_file_or_given(
    tmp_path: Path, text: str, options: dict[str, Any], columns: dict[str, list[Any]]
) -> None:
    assert convert_bytes(tmp_path, text, header=True, **options)[0] == columns


def test_numbers_without_separators_are_written_as_those_of_other_columns(tmp_path: Path) -> None:
    _, contents = convert_bytes(tmp_path, "a;b;c\n1.745,71;3;x\n2,5;4;y\n")
    assert contents.formats == {"a": GERMAN, "b": GERMAN}
    (tmp_path / "table").unlink()
    _, contents = convert_bytes(tmp_path, "a;b\n1;x\n", thousands=" ")
    assert contents.formats == {"a": NumberFormat(thousands=" ")}


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"c": "numeric"}, "column 'c': there is no such column"),
        ({"b": "numeric"}, "column 'b': no value is of the type numeric"),
        ({"b": "datetime"}, "column 'b': no value is of the type datetime"),
        ({"b": "boolean"}, "column 'b': no value is of the type boolean"),
    ],
)
def test_a_type_that_a_column_cannot_have_is_refused(
    tmp_path: Path, types: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        convert_bytes(tmp_path, "a,b\n1,x\n", types=types)
    assert caught.value.field == "types"


@pytest.mark.parametrize("word", MISSING_WORDS[1:])
def test_the_usual_words_for_a_missing_value_are_read_as_one_in_every_column(
    tmp_path: Path, word: str
) -> None:
    text = f"number,date,flag,word\n1.5,2024-02-01,true,x\n{word},{word},{word},{word}\n"
    found, contents = convert_bytes(tmp_path, text)
    assert found == {
        "number": [1.5, None],
        "date": [DAY, None],
        "flag": [True, None],
        "word": ["x", None],
    }
    assert contents.warnings == ()


ROWS = range(1, 21)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("d\n1/2/2024\n3/4/2024\n", "column 'd': its dates could begin with the day or with the"),
        ("d\n18446744073709551616\n", "column 'd': its whole numbers are longer than 64 bits"),
        (
            "age\n" + "".join(f"{row}\n" for row in ROWS) + "abc\n7 years\n",
            "column 'age': 2 of its 22 values are no numbers and count as missing: 'abc' in row "
            '21, \'7 years\' in row 22; with types={"age": "categorical"} it stays text',
        ),
        (
            "d,e\n" + "".join(f"2023-01-{row:02},\n" for row in ROWS) + "2023-02-30,1\n",
            "column 'd': 1 of its 21 values is no date and counts as missing: '2023-02-30' in ",
        ),
        (
            "stars\n" + "".join(f"{row % 5}\n" for row in range(96)) + "new\n" * 4,
            "column 'stars': 4 of its 100 values are no numbers, so it stays text: 'new' in row ",
        ),
        (
            "a\n" + "".join(f"{row}.5\n" for row in ROWS) + "tbd\n" * 5,
            "column 'a': 5 of its 25 values are no numbers, so it stays text: 'tbd' in row 21, 't",
        ),
        (
            "d\n" + "".join(f"2023-01-{row:02}\n" for row in ROWS) + "tbd\n" * 5,
            "column 'd': 5 of its 25 values are no dates, so it stays text: 'tbd' in row 21, 'tbd",
        ),
        (
            "a;b\n1,234;x\n",
            "column 'a': 1,234 was read as 1234; if it means 1.234, upload the file wi",
        ),
        ("a;b\n1.234;x\n56;y\n", "column 'a': 1.234 was read as it is; if it means 1234, upload"),
        ("a\n$5\n7\n9 €\n", "column 'a': its amounts are in several currencies ($, €)"),
        ("a\n5%\n7\n", "column 'a': 1 of its 2 numbers have a percent sign: 45% is 0.45, 45 is "),
        ("a,b\n1,NA\n2,\n", "column 'b' has no values and is left out"),
        ("a,b,a\n1,2,3\n", "two columns were named 'a': column 3 is now 'a_2'"),
        ("a_2,a,a\n1,2,3\n", "two columns were named 'a': column 3 is now 'a_3'"),
        (",b\n1,2\n", "column 1 had no name: it is now 'column_1'"),
    ],
)
def test_what_looks_like_a_mistake_is_said(tmp_path: Path, text: str, warning: str) -> None:
    _, contents = convert_bytes(tmp_path, text)
    (found,) = contents.warnings
    assert found.startswith(warning)


PLAIN = {
    "delimiter": ",",
    "quote": '"',
    "encoding": "utf-8",
    "header": True,
    "missing": list(MISSING_WORDS),
    "lenient": [],
}


COLUMNS_WITH_A_COMMA = {"column_1": ["x", "y, z"], "column_2": [1, 2]}


@pytest.mark.parametrize(
    ("content", "options", "columns"),
    [
        ("a;b\n1,5;2\n", {"delimiter": ";"}, {"a": [1.5], "b": [2]}),
        ("a\tb\nx, y\t2\n", {"delimiter": "\t"}, {"a": ["x, y"], "b": [2]}),
        ("a|b\n1|2\n", {"delimiter": "|"}, {"a": [1], "b": [2]}),
        ("x;1\ny, z;2\n", {"delimiter": ";", "header": False}, COLUMNS_WITH_A_COMMA),
        ("'a','b'\n'1,2','3'\n", {"quote": "'"}, {"a": [1.2], "b": [3]}),
        ('a,b\n5" pipe,1\n', {"quote": ""}, {"a": ['5" pipe'], "b": [1]}),
        ("a,b\nit's,1\n'tis,2\n", {}, {"a": ["it's", "'tis"], "b": [1, 2]}),
        ("x\nred\nblue\n", {}, {"x": ["red", "blue"]}),
        ("1,x\n2,y\n", {"header": False}, {"column_1": [1, 2], "column_2": ["x", "y"]}),
        (
            "x,2024-01-01\n",
            {"header": False},
            {"column_1": ["x"], "column_2": [DAY.replace(month=1)]},
        ),
        ("\ufeffa\n1\n", {"encoding": "utf-8-sig"}, {"a": [1]}),
        ("a,é\n1,2\n".encode("utf-16"), {"encoding": "utf-16"}, {"a": [1], "é": [2]}),
    ],
)
def test_how_a_file_is_delimited_is_found_out(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], columns: dict[str, list[Any]]
) -> None:
    found, contents = convert_bytes(tmp_path, content)
    assert found == columns
    assert contents.options == PLAIN | options


@pytest.mark.parametrize(
    ("content", "options", "columns"),
    [
        ("a;b\n1;2\n", {"delimiter": ","}, {"a;b": ["1;2"]}),
        ('a,b\n1,"x\n2,y\n', {"quote": ""}, {"a": [1, 2], "b": ['"x', "y"]}),
        ("1,x\n2,y\n", {"header": True}, {"1": [2], "x": ["y"]}),
        ("a\n1\n", {"header": False}, {"column_1": ["a", "1"]}),
        ("a\n1\n-9\n", {"missing": ("-9",)}, {"a": [1, None]}),
        ("a,b\n1,NA\n", {"default_missing": False}, {"a": [1], "b": ["NA"]}),
        (
            "a,b\n1,tbd\ntbd,-\nNone,x\n",
            {"missing": (" tbd",)},
            {"a": [1, None, None], "b": [None, None, "x"]},
        ),
        (
            "a,b\n1,tbd\ntbd,-\n3,x\n",
            {"missing": ("tbd",), "default_missing": False},
            {"a": [1, None, 3], "b": [None, "-", "x"]},
        ),
        ("é\n1\n".encode("cp1252"), {"encoding": "cp1252"}, {"é": [1]}),
        ("é\n1\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, {"é": [1]}),
        ("\ufeffé\n1\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, {"é": [1]}),
        ("\ufeff\n1\n".encode("utf-16-be"), {"encoding": "UTF-16BE"}, {"column_1": [1]}),
    ],
)
def test_what_is_declared_is_not_detected(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], columns: dict[str, list[Any]]
) -> None:
    assert convert_bytes(tmp_path, content, **options)[0] == columns


def rows_of(*columns: list[Any]) -> str:
    return "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True)) + "\n"


WHOLES = [[row * factor % 7 for row in range(30)] for factor in (3, 4, 5)]
FRACTIONS = [[row * factor % 7 + 0.5 for row in range(30)] for factor in (3, 4, 5)]
PETS = [["cat", "dog", "cat"][row % 3] for row in range(30)]
DATES = [f"2024-01-{row + 1:02}" for row in range(30)]
NAMES = "the first row was taken for the names of the columns; if it is data"
DATA = "the first row was taken for data; if it names the columns"


@pytest.mark.parametrize(
    ("first", "below", "header", "warning"),
    [
        ("0,1,2,species", rows_of(*FRACTIONS, PETS), True, NAMES),
        ("0,1,2,species", rows_of(*WHOLES, PETS), True, NAMES),
        ("2019,2020,2021", rows_of(*FRACTIONS), True, NAMES),
        ("2019,2020,2021", rows_of(*WHOLES), True, NAMES),
        ('"2019","2021"', rows_of(*WHOLES[:2]), True, None),
        ('"2019","2021"', rows_of([f'"{row}"' for row in WHOLES[0]], WHOLES[1]), False, DATA),
        ("region,2019,2021", rows_of(*WHOLES), True, None),
        ("2019,2021", rows_of(WHOLES[0], PETS), True, None),
        (",0,1", rows_of(list(range(30)), *WHOLES[:2]), True, "column 1 had no name"),
        ("2024-01-01,2024-02-01", rows_of(*WHOLES[:2]), True, None),
        ("2019,2020,2021", rows_of(*WHOLES[:2], DATES), True, None),
        ("5,7,8", rows_of(*WHOLES), False, DATA),
        ("0,0,0,cat", rows_of(*WHOLES, PETS), False, None),
        ("0,1,2,mouse", rows_of(*WHOLES, PETS), True, NAMES),
        ("0,0,2,mouse", rows_of(*WHOLES, PETS), False, DATA),
        ("0.5,1,2", rows_of(*FRACTIONS), False, None),
        ("2019.0,2020.0,pet", rows_of(*FRACTIONS[:2], PETS), False, DATA),
        ("cat,dog,cat", rows_of(PETS, PETS, PETS), False, DATA),
        ("pet,pet,colour", rows_of(PETS, PETS, PETS), True, "two columns were named 'pet'"),
        ("2023-12-31,7", rows_of(DATES, WHOLES[0]), False, None),
        ("NA,1.5", rows_of(WHOLES[0], FRACTIONS[0]), False, None),
    ],
)
def test_the_first_row_is_a_header_if_it_differs_from_the_rows_below(
    tmp_path: Path, first: str, below: str, header: bool, warning: str | None
) -> None:
    _, contents = convert_bytes(tmp_path, f"{first}\n{below}")
    assert contents.options["header"] is header
    assert contents.num_rows == 30 + (not header)
    assert [found.startswith(warning or "?") for found in contents.warnings] == [True] * bool(
        warning
    )


@pytest.mark.parametrize("declared", ["utf-8", "UTF-8", "utf8", "utf-8-sig"])
@pytest.mark.parametrize(("mark", "encoding"), [("", "utf-8"), ("\ufeff", "utf-8-sig")])
def test_utf8_may_be_marked_however_it_is_declared(
    tmp_path: Path, declared: str, mark: str, encoding: str
) -> None:
    found, contents = convert_bytes(tmp_path, f"{mark}é\n1\n", encoding=declared)
    assert found == {"é": [1]}
    assert contents.options["encoding"] == encoding


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ",,"},
        {"delimiter": "\n"},
        {"delimiter": "é"},
        {"quote": "`"},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"decimal": ";"},
        {"thousands": "_"},
        {"types": {"a": "number"}},
        {"date_format": "DD/MM/YYYY"},
        {"date_format": "%H:%M"},
        {"skip_rows": -1},
        {"comment": ""},
        {"encoding": "punycode"},  # decodes in quadratic time
        {"encoding": "unicode_escape"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions(**options)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n\n3,4\n",
        "\n\na,b\n1,2\n3,4\n",
        "a,b\n\n1,2\n3,4\n",
        "a,b\n1,2\n3,4\n\n\n",
        "\r\na,b\r\n1,2\r\n\r\n3,4\r\n\r\n",
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_blank_lines_are_no_rows(tmp_path: Path, text: str, as_text: bool) -> None:
    columns = {"a": [1, 3], "b": [2, 4]}
    if as_text:
        assert convert_bytes(tmp_path, text, as_text=True)[0] == {
            name: [str(number) for number in numbers] for name, numbers in columns.items()
        }
    else:
        assert convert_bytes(tmp_path, text)[0] == columns


def test_a_blank_line_is_no_missing_value_of_one_column_and_empty_quotes_are(
    tmp_path: Path,
) -> None:
    assert convert_bytes(tmp_path, 'a\n1\n\n""\n3\n')[0] == {"a": [1, None, 3]}


@pytest.mark.parametrize(
    "text",
    ["a,b\n\n", "a,b\r\n\r\n", '\n\n"a",b\n', "\na,b\n\n", "\n3,4\n", "\r\n\r\n3,4\r\n"],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_blank_lines_may_precede_a_long_table(tmp_path: Path, text: str, as_text: bool) -> None:
    num_rows = SAMPLE_BYTES // len("1,2\n") + 1
    found, _ = convert_bytes(tmp_path, text + "1,2\n" * num_rows, as_text=as_text)
    first, second = (["1"], ["2"]) if as_text else ([1], [2])
    if "3" in text:
        before = ("3", "4") if as_text else (3, 4)
        assert found == {
            "column_1": [before[0], *first * num_rows],
            "column_2": [before[1], *second * num_rows],
        }
    else:
        assert found == {"a": first * num_rows, "b": second * num_rows}


def test_text_is_kept_as_it_is_written(tmp_path: Path) -> None:
    text = 'a,b,c\n007,NA,\n 1 ,"x ""y""",true\n'
    found, contents = convert_bytes(tmp_path, text, as_text=True)
    assert found == {"a": ["007", " 1 "], "b": ["NA", 'x "y"'], "c": ["", "true"]}
    assert contents.warnings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf", "the file has no rows"),
        (b"\n\n", "the file has no rows"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b", "a header and no rows"),
        (b"a,b\n\n\n", "a header and no rows"),
        (b"a,b\n,\nNA,\n", "all values are missing"),
        (b"a,b\n1,2\n3\n", "row 2: 1 fields where the first row has 2"),
        (b"1,2\n3\n", "row 2: 1 fields where the first row has 2"),
        (b"a\n1,234\n", "row 1: 2 fields where the first row has 1"),
        (b"a,b\n1,2\n\n3,4,5\n", "row 2: 3 fields where the first row has 2"),
        (b'a,b\n"1\n\n1",2\n3\n', "row 2: 1 fields where the first row has 2"),
        (b"a,b\n1,2\n   \n", "row 2: 1 fields where the first row has 2"),
        (b'a,b\n1,2\n3,"4\n', "row 2: not a readable CSV: a quoted field has no end"),
        (b'a,b\n1,"2"3\n', "row 1: not a readable CSV: a quote stands within a field"),
        (b'a,b\n"1",2\n2,z"\n', "row 2: not a readable CSV: a quote stands within a field"),
        (b'"a', "^not a readable CSV: a quoted field has no end"),
        (b"a,b\r1,2\r3,4\r", "^not a readable CSV: a carriage return stands within a line"),
        (b"a,b\n1,2\n3\r,4\n", "row 2: not a readable CSV: a carriage return"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is an image, which is not read"),
        (b"\x7fELF\x02\x01\x01\0\0", "binary or not UTF-8"),
        (bytes(range(256)), "binary or not UTF-8"),
        (
            "a,b\n1,2\n3,é\n".encode("latin-1"),
            "row 2: the file is binary or not UTF-8.* `encoding`",
        ),
        (b"a,b\n1,2\n3,\xc3", "row 2: the file is binary or not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "binary or not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "line 2 is no text in utf-16"),
        (b"a,b\0\n1,2\n", "binary or not UTF-8"),
        (b"a,b\n1,2\n1,x\0y\n", "row 2: the file is binary or not UTF-8 text: it holds a NUL byte"),
        (b"a\n1e999\n", "all values are missing"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        convert_bytes(tmp_path, content)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
@pytest.mark.parametrize("num_rows", [2, SAMPLE_BYTES // 4])
def test_an_infinite_cell_is_missing_and_told(tmp_path: Path, cell: str, num_rows: int) -> None:
    rows = "".join(f"{row}.5\n" for row in range(num_rows))
    found, contents = convert_bytes(tmp_path, f"a\n{rows}{cell}\n")
    assert found["a"][-2:] == [num_rows - 0.5, None]
    (warning,) = contents.warnings
    assert f"is no finite number and counts as missing: '{cell}' in row {num_rows + 1};" in warning
    assert contents.options["lenient"] == ["a"]


def test_an_error_carries_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        convert_bytes(tmp_path, b"a,b\n1,2\n3\n")
    assert (caught.value.row, caught.value.column, caught.value.field) == (2, None, None)


def test_a_first_row_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the first row is longer than 4194304 bytes"):
        convert_bytes(tmp_path, b"a" * ((4 << 20) + 1))


def test_bytes_that_are_not_of_the_declared_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2 is no text in ascii"):
        convert_bytes(tmp_path, "a\né\n", encoding="ascii")


# Of files longer than the sample, the rest may be anything.
LONG = (SAMPLE_BYTES // len("1,2024-01-01,red\n") + 1000) * ["1,2024-01-01,red"]


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("2,2024-01-02,blue", "a", 2),
        ("NA,NA,NA", "a", None),
        (",,", "b", None),
        ('"2","2024-12-31","x\n,y"', "c", "x\n,y"),
        (" 2,2024-12-31,x", "a", 2),
        ("2 ,2024-12-31,x", "a", 2),
        ("2.5,2024-12-31,x", "a", 2.5),
        ("18446744073709551616,2024-12-31,x", "a", "18446744073709551616"),
        ("007,2024-12-31,x", "a", "007"),
        ('"007",2024-12-31,x', "a", "007"),
        ("x,2024-12-31,x", "a", None),
        ("1.50,2024-12-31,x", "a", 1.5),
        ("-,2024-12-31,-", "c", None),
        ("$5,2024-12-31,x", "a", 5),
        ("1,2024-12-31T10:30Z,x", "b", dt.datetime(2024, 12, 31, 10, 30)),
        ("1,24-12-31,x", "b", None),
        ("1,2023-02-30,x", "b", None),
        ("1,2024-01-01,NULL", "c", None),
        ("\n1,2024-01-01,after a blank line", "c", "after a blank line"),
    ],
)
def test_a_later_row_counts_as_much_as_the_first(
    tmp_path: Path, row: str, column: str, value: Any
) -> None:
    text = "\n".join(["a,b,c", *LONG, row])
    found, contents = convert_bytes(tmp_path, text)
    assert [len(cells) for cells in found.values()] == [len(LONG) + 1] * 3
    assert found[column][-1] == value
    assert isinstance(found[column][0], type(value) if value is not None else object)
    cell = row.split(",")["abc".index(column)]
    if cell in ("x", "2023-02-30", "24-12-31") and column != "c":
        (warning,) = contents.warnings
        assert f"count as missing: {cell!r} in row {len(LONG) + 1}" in warning.replace(
            "s as", " as"
        )


WHOLE, REAL, TRUE = (1, -9), (1.5, -9.0), (True, False)


@pytest.mark.parametrize(
    ("values", "cell", "word"),
    [
        (WHOLE, "-9", "-9"),
        (WHOLE, " -9", "-9"),
        (WHOLE, "-9", "-9.0"),
        (REAL, "-9", "-9"),
        (REAL, " -9", "-9"),
        (REAL, '"\t-9"', "-9"),
        (REAL, "-9 ", "-9"),
        (REAL, "-9.0", "-9"),
        (REAL, "inf", "inf"),
        (TRUE, "false", "false"),
        (TRUE, " false", "false"),
        (TRUE, "FALSE", "false"),
        ((DAY, SILVESTER), "2024-12-31", "2024-12-31"),
        ((DAY, SILVESTER), " 2024-12-31", "2024-12-31"),
    ],
)
def test_a_word_for_missing_that_reads_as_a_value_is_found_wherever_it_is(
    tmp_path: Path, values: tuple[Any, Any], cell: str, word: str
) -> None:
    usual, value = values
    num_rows = SAMPLE_BYTES // len(f"{usual},x\n") + 1000
    given = cell.strip(' "\t')
    is_missing = given.removesuffix(".0") == word.removesuffix(".0")  # -9.0 is the number -9
    expected = [usual, None if is_missing else value]
    for rows in ([f"{usual},x"], [f"{usual},x"] * num_rows):
        text = "\n".join(["a,b", *rows, f"{cell},x"])
        found, _ = convert_bytes(tmp_path, text, missing=(word,))
        assert found["a"][-2:] == expected
        (tmp_path / "table").unlink()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,2024-01-01", "2 fields where the first row has 3"),
        ('1,2024-01-01,"x', "a quoted field has no end"),
        ('"1",2024-01-01,5" pipe', "a quote stands within a field"),
        ("1,2024-01-01,\0", "it holds a NUL byte"),
    ],
)
def test_a_later_row_is_refused_as_the_first_is(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=f"row {len(LONG) + 1}: .*{message}"):
        convert_bytes(tmp_path, "\n".join(["a,b,c", *LONG, row]))


def test_a_column_that_begins_without_values_is_settled_by_the_rest(tmp_path: Path) -> None:
    rows = [*(f"{row}," for row in LONG), "1,2024-01-01,red,5", "1,2024-01-01,red,NA"]
    found, contents = convert_bytes(tmp_path, "\n".join(["a,b,c,d", *rows]))
    assert found["d"] == [None] * len(LONG) + [5, None]
    assert contents.warnings == ()


@pytest.mark.parametrize(("last", "dtype"), [("", int), ("2.0", float), ("2.5", float)])
def test_whole_numbers_with_a_point_are_integers_beside_a_hole(
    tmp_path: Path, last: str, dtype: type
) -> None:
    rows = "1.0,x\n" * (SAMPLE_BYTES // 4)
    found, _ = convert_bytes(tmp_path, f"a,b\n{rows}{last},x\n")
    assert type(found["a"][0]) is dtype
    assert found["a"][-1] == (float(last) if last else None)


def test_quotes_within_fields_alone_have_no_meaning(tmp_path: Path) -> None:
    found, contents = convert_bytes(tmp_path, "\n".join(["a,b,c", *LONG, '1,2024-01-01,5" pipe']))
    assert found["c"][-1] == '5" pipe'
    assert contents.options["quote"] == ""


words = st.sampled_from(
    ["", "1", "x", "true", '"x\ny"', '""', '"1,2"', " ", 'a"b', "é", '"a""b"', "\r", '"\r"', '"']
)
numbers = st.sampled_from(["", "1", "2.5", '""', '"3"', "-1e3"])
lines = st.one_of(st.just(""), st.tuples(words, numbers).map(",".join), words)


@given(st.lists(lines, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example(["a,2", "", "b,4", ""], "\n", True)
@settings(deadline=None, max_examples=120)
def test_cells_are_those_that_the_standard_library_reads(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: str, ends: bool
) -> None:
    text = newline.join(["word,number", *lines, "x,1"]) + newline * ends
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        expected = rows[1:] if {len(row) for row in rows} == {2} else None
    except csv.Error:
        expected = None
    folder = tmp_path_factory.mktemp("csv")
    try:
        found, _ = convert_bytes(folder, text, as_text=True, delimiter=",", quote='"', header=True)
    except DataError:
        # The standard library takes a quote within a field for a character, and "\r" for an end.
        assert expected is None or 'a"b' in text or "\r" in text.replace("\r\n", "")
    else:
        assert expected is not None
        assert list(zip(*found.values(), strict=True)) == [tuple(row) for row in expected]


@given(
    st.lists(st.lists(st.text('a1",;\n\r é', max_size=4), min_size=3, max_size=3), min_size=1),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(deadline=None, max_examples=60)
def test_what_the_standard_library_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, newline: str
) -> None:
    buffer = io.StringIO(newline="")
    # Quoting less, it leaves carriage returns bare where they end no line.
    writer = csv.writer(
        buffer, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC
    )
    writer.writerows([["x", "y", "z"], *rows])
    found, _ = convert_bytes(
        tmp_path_factory.mktemp("csv"), buffer.getvalue(), as_text=True, delimiter=delimiter,
        quote='"', header=True,
    )  # fmt: skip
    assert [list(row) for row in zip(*found.values(), strict=True)] == rows
