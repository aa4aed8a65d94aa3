from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dropout_core.data.readers import convert, json_records, read
from dropout_core.errors import DataError


def read_text(folder: Path, text: str, **options: Any) -> dict[str, list[Any]]:
    path = folder / "file"
    path.write_text(text)
    return read(path, **options).to_dict(as_series=False)


def test_cells_mean_what_those_of_csv_do(tmp_path: Path) -> None:
    text = """
      {"whole": 9007199254740993, "number": 1.5, "word": "N/A", "yes": true, "day": "2024-02-01"}
      {"whole": 2, "number": NaN, "word": "a \\"b\\"\\nc, d", "yes": false, "day": null, "late": 1}
    """
    assert read_text(tmp_path, text) == {
        "whole": [9007199254740993, 2],
        "number": [1.5, None],
        "word": [None, 'a "b"\nc, d'],
        "yes": [True, False],
        "day": [datetime(2024, 2, 1), None],
        "late": [None, 1],
    }


def test_a_number_is_one_whatever_strings_look_like(tmp_path: Path) -> None:
    text = '[{"n": 1.234, "s": "1.745,71"}, {"n": -12.345, "s": "2.100,50"}]'
    assert read_text(tmp_path, text)["n"] == [1.234, -12.345]


def test_a_record_of_nulls_is_a_row(tmp_path: Path) -> None:
    assert read_text(tmp_path, '[{"x": 1}, {"x": null}, {}, {"x": 2}]') == {"x": [1, None, None, 2]}


def test_only_options_of_the_cells_are_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('{"a": 1}')
    _, contents = convert([path], tmp_path / "table")
    assert not {"delimiter", "quote", "encoding", "header"} & contents.options.keys()


def test_records_of_any_length_are_read_a_chunk_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "_CHUNK_CHARACTERS", 7)
    rows = [{"x": "y" * length} for length in range(1, 40)]
    text = str(rows).replace("'", '"')
    assert read_text(tmp_path, text) == {"x": [row["x"] for row in rows]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2], "b": [3, 4]}', "row 1, column 'a': a list is no value of a cell"),
        ('{"a": 1}\n{"a": {"b": 1}}', "row 2, column 'a': an object is no value of a cell"),
        ('{"a": 1}\n{"a": ', "not a readable JSON: record 2"),
        ('[{"a": 1}, {"a": 2}', "the array has no end"),
        ('[{"a": 1} {"a": 2}]', "a comma or the end of the array is missing"),
        ('[{"a": 1}] 2', "more follows after the end of the array"),
        ('[{"a": 1}, 2]', "row 2: a record is an object"),
        ('{"a": ' + "[" * 100_000, "record 1 is nested too deeply"),
        ("[]", "the file has no rows"),
        ('{"a": "\\ud800"}', "half of a character"),
        ('{"a": 1, "b": 2, "c": 3, "d": 4}', "4 columns, 3 are allowed"),
        ('{"a": 1, "b": 1, "c": 1}' + '{"a": 1}' * 300, "more than the 1000 bytes allowed"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_text(tmp_path, text, max_bytes=1000, max_columns=3)
