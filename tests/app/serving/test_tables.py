import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.serving.tables import CsvFile, ParquetFile

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "-", "+1_0", "-inf"]
SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
FORMULAS += ["\n=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"]
NUMBERS = ["-5", "+5", "-.5", "-5.", "+1e5", "-1.5E-3"]

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=6
) | st.sampled_from(FORMULAS + NUMBERS)


def written(folder: Path, *batches: pl.DataFrame, delimiter: str = ",") -> str:
    file = CsvFile(folder, delimiter=delimiter)
    for batch in batches:
        file.append(batch)
    path = file.finish()
    text = path.read_bytes().decode()
    path.unlink()
    return text


def cells(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_and_no_name_is_a_formula(tmp_path: Path, text: str) -> None:
    frame = pl.DataFrame({text: [text], "a": [-1.5]})
    assert cells(written(tmp_path, frame)) == [[f"'{text}", "a"], [f"'{text}", "-1.5"]]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_in_words_stay_numbers(tmp_path: Path, text: str) -> None:
    assert cells(written(tmp_path, pl.DataFrame({"a": [text], "b": [1]})))[1] == [text, "1"]


def test_a_column_whose_name_is_a_pattern_is_one_column(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": ["a", None], "*": ["=1", ""], "^x$": ["b", "=2"], "^.*$": ["", "c"]})
    assert cells(written(tmp_path, frame)) == [
        ["x", "*", "^x$", "^.*$"],
        ["a", "'=1", "b", ""],
        ["", "", "'=2", "c"],
    ]


def test_names_stay_different(tmp_path: Path) -> None:
    names = cells(written(tmp_path, pl.DataFrame({"=a": [1], "'=a": [2], "'=a_2": [3]})))[0]
    assert len(set(names)) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
)
def test_every_other_cell_is_read_as_it_was(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str
) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    text = written(tmp_path, frame.with_columns(n=1), frame.with_columns(n=2), delimiter=delimiter)
    read = cells(text, delimiter)
    assert read[0] == ["a", "b", "n"]
    assert len(read) == 1 + 2 * len(rows)
    for given_row, row in zip(rows * 2, read[1:], strict=True):
        for before, after in zip(given_row, row, strict=False):
            is_formula = before[:1] in tuple(SIGNS) and before not in NUMBERS
            # A number that is drawn by chance is neither: it may begin with a sign.
            assert after in ({f"'{before}", before} if is_formula else {before})
            assert after[:1] not in set(SIGNS) - {"+", "-"}


def test_missing_and_empty_cells_are_written_without_quotes(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["", None], "b": [True, False]})
    assert written(tmp_path, frame) == "a,b\n,true\n,false\n"


def test_parquet_keeps_what_csv_would_change(tmp_path: Path) -> None:
    frame = pl.DataFrame({"=a": ["=1+1", "", None], "b": [0.1, None, 3.0]})
    file = ParquetFile(tmp_path)
    for batch in (frame.head(2), frame.tail(1)):
        file.append(batch)
    assert pl.read_parquet(file.finish()).equals(frame)


def test_a_table_without_text_is_written_as_it_is(tmp_path: Path) -> None:
    assert written(tmp_path, pl.DataFrame({"a": [1], "b": [None]})) == "a,b\n1,\n"
