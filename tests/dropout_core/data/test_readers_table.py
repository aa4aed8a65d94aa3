"""What readers share."""

from pathlib import Path

import polars as pl
import pytest

from dropout_core.data.readers import convert, table, text_parser
from dropout_core.data.readers.table import unique_names
from dropout_core.errors import DataError


def test_a_wide_table_is_written_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (table, text_parser):
        monkeypatch.setattr(module, "COLUMNS_AT_ONCE", 2)
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None], "*": [3, 4], "e": [5, 6]})
    frame.write_csv(tmp_path / "file.csv")
    frame.write_parquet(tmp_path / "file.parquet")
    for name in ("file.csv", "file.parquet"):
        convert([tmp_path / name], tmp_path / "table")
        assert pl.read_parquet(tmp_path / "table").equals(frame)


def test_one_name_for_all_columns_takes_linear_time() -> None:
    names, warnings = unique_names(["x"] * 20_000)
    assert names[:2] + names[-1:] == ["x", "x_2", "x_20000"]
    assert len(warnings) == 19_999


def test_warnings_are_few(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(",".join(["x"] * 500) + "\n" + "1," * 499 + "1\n" + "2," * 499 + "2\n")
    _, contents = convert([path], tmp_path / "table")
    assert len(contents.warnings) == 101
    assert contents.warnings[-1].endswith("more warnings")


def test_many_columns_without_values_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(",".join(f"c{i}" for i in range(300)) + "\n" + "1" + "," * 299 + "\n")
    _, contents = convert([path], tmp_path / "table")
    assert pl.read_parquet(tmp_path / "table").columns == ["c0"]
    assert contents.warnings[-1].endswith("more warnings")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3," + "x" * 1_048_577, "row 2, column 'b': the cell has 1048577 bytes"),
        ("a" * 1_001 + ",b\n1,2\n", "the name of column 1 has 1001 characters, 1000 are allowed"),
    ],
)
def test_cells_and_names_have_a_largest_length(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        convert([path], tmp_path / "table")
