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
        ("a,b\n 1,x\n2 , y\n", {"a": [1, 2], "b": ["x", " y"]}),
        ('a,b\n1,"x\ny"\n2,"p\r\n\r\nq"\n', {"a": [1, 2], "b": ["x\ny", "p\r\n\r\nq"]}),
        ('a,b\n1,"x, ""y"""\n', {"a": [1], "b": ['x, "y"']}),
        ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
        ("a,b\n,2\n1,\n", {"a": [None, 1], "b": [2, None]}),
        ('a,b\n1,""\n2,x\n', {"a": [1, 2], "b": [None, "x"]}),
        ("a,b\n1,é\n", {"a": [1], "b": ["é"]}),
        ("a,b\n9007199254740993,x\n", {"a": [9007199254740993], "b": ["x"]}),
        ("PK,b\n1,2\n", {"PK": [1], "b": [2]}),
        ("a,b\n1,NA\n2,None\n3,x\n", {"a": [1, 2, 3], "b": [None, None, "x"]}),
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
        (["2024-02-01T00:00:00.250Z"], [DAY.replace(microsecond=250_000)]),
        (["01.02.2024", "31.12.2024"], [DAY, SILVESTER]),
        (["1.2.2024 08:30", "NA"], [DAY.replace(hour=8, minute=30), None]),
        (["2024/02/01", "2024/12/31"], [DAY, SILVESTER]),
        (["1/2/2024", "31/12/2024"], [DAY, SILVESTER]),
        (["2/1/2024", "12/31/2024"], [DAY, SILVESTER]),
    ],
)
def test_dates_are_read(tmp_path: Path, cells: list[str], moments: list[Any]) -> None:
    found, contents = convert_bytes(tmp_path, "\n".join(["when", *cells]))
    assert found == {"when": moments}
    assert contents.warnings == ()


@pytest.mark.parametrize("cell", ["24-02-01", "0000-01-01", "31.12.24", "2024-1", "12:30", "1/2/3"])
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
            "column 'age': 2 of 22 values are no numbers, such as 'abc' in row 21, '7 years' in ",
        ),
        (
            "d,e\n" + "".join(f"2023-01-{row:02},\n" for row in ROWS) + "2023-02-30,1\n",
            "column 'd': 1 of 21 values are no dates, such as '2023-02-30' in row 21",
        ),
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
}


@pytest.mark.parametrize(
    ("content", "options", "columns"),
    [
        ("a;b\n1,5;2\n", {"delimiter": ";"}, {"a": ["1,5"], "b": [2]}),
        ("a\tb\nx, y\t2\n", {"delimiter": "\t"}, {"a": ["x, y"], "b": [2]}),
        ("a|b\n1|2\n", {"delimiter": "|"}, {"a": [1], "b": [2]}),
        ("'a','b'\n'1,2','3'\n", {"quote": "'"}, {"a": ["1,2"], "b": [3]}),
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
        (b"a,b\n1,2\n\n3,4,5\n", "row 2: 3 fields where the first row has 2"),
        (b'a,b\n"1\n\n1",2\n3\n', "row 2: 1 fields where the first row has 2"),
        (b"a,b\n1,2\n   \n", "row 2: 1 fields where the first row has 2"),
        (b'a,b\n1,2\n3,"4\n', "row 2: not a readable CSV: a quoted field has no end"),
        (b'a,b\n1,"2"3\n', "row 1: not a readable CSV: a quote stands within a field"),
        (b'a,b\n"1",2\n2,z"\n', "row 2: not a readable CSV: a quote stands within a field"),
        (b'"a', "^not a readable CSV: a quoted field has no end"),
        (b"a,b\r1,2\r3,4\r", "^not a readable CSV: a carriage return stands within a line"),
        (b"a,b\n1,2\n3\r,4\n", "row 2: not a readable CSV: a carriage return"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary or not UTF-8"),
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
        (b"a,b\n1,\n3,Infinity\n", "row 2, column 'b': inf is not a finite number"),
        (b"a,b\n1,2.5\n\n3,-inf\n", "row 2, column 'b': -inf is not a finite number"),
        (b"a,b\n1,1e999\n", "row 1, column 'b': inf is not a finite number"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        convert_bytes(tmp_path, content)


def test_an_error_carries_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        convert_bytes(tmp_path, b"a,b\n1,2\n3,inf\n")
    assert (caught.value.row, caught.value.column, caught.value.field) == (2, "b", None)


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
        ("x,2024-12-31,x", "a", "x"),
        ("1,2024-12-31T10:30Z,x", "b", dt.datetime(2024, 12, 31, 10, 30)),
        ("1,24-12-31,x", "b", "24-12-31"),
        ("1,2023-02-30,x", "b", "2023-02-30"),
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
    if value in ("x", "2023-02-30", "24-12-31"):
        (warning,) = contents.warnings
        assert f"such as {value!r} in row {len(LONG) + 1}" in warning


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
    expected = [usual, None if cell.strip(' "\t') == word else value]
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
