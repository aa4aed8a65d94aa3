import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from fastapi import UploadFile

from app.http.errors import RequestError
from app.http.uploads import Upload
from app.inference import service as inference
from app.serving import tables as serving_tables
from dropout_core.data.ingest import Limits
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import read
from dropout_core.model.predictor import Predictor
from tests.support import tables
from tests.support.client import train, upload
from tests.support.problems import assert_problem, stored
from tests.support.served_models import tabular_run
from tests.support.service import SETTINGS, Service

Client = httpx.Client

PARQUET = {"Accept": "application/vnd.apache.parquet"}

UNUSABLE: dict[str, tuple[bytes, str]] = {
    "a word for a number": (b"petal_length,petal_width\n1,2\n1,flat\n", "row 2, column 'petal_wid"),
    "a missing value": (b"petal_length,petal_width\n1,2\n,2\n", "row 2, column 'petal_length'"),
    "infinity": (b"petal_length,petal_width\ninf,2\n", "row 1, column 'petal_length'"),
    "a column short": (b"petal_length\n1\n", "'petal_width'"),
    "beyond all measure": (b"petal_length,petal_width\n1,2\n1e308,2\n", "row 2: the features are"),
    "ragged": (b"petal_length,petal_width\n1,2\n1\n", "row 2"),
    "empty": (b"", "empty"),
}


@pytest.fixture(scope="package")
def path(flower_model: dict[str, Any]) -> str:
    return f"/v1/models/{flower_model['id']}"


def post(client: Client, path: str, file: bytes, **options: Any) -> httpx.Response:
    return client.post(f"{path}/predict-file", files={"file": ("rows", file)}, **options)


def rows(response: httpx.Response, delimiter: str = ",") -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert int(response.headers["content-length"]) == len(response.content)
    text = io.StringIO(response.content.decode(), newline="")
    return list(csv.DictReader(text, delimiter=delimiter, strict=True))


def test_a_file_comes_back_with_predictions_that_are_those_of_its_rows(
    live: Client, service: Service, path: str, flower_model: dict[str, Any]
) -> None:
    before = stored(live, service.data_dir)
    table = tables.flowers(40)
    answer = rows(post(live, path, table))
    assert [list(row.values())[:3] for row in answer] == tables.rows(table)
    instances = [[float(length), float(width)] for length, width, _ in tables.rows(table)]
    told = live.post(f"{path}/predict", json={"instances": instances}).json()
    assert [row["prediction"] for row in answer] == told["predictions"]
    for row, probabilities in zip(answer, told["probabilities"], strict=True):
        # Written so that they are read back to the last bit.
        written = [float(row[f"probability_{kind}"]) for kind in flower_model["classes"]]
        assert written == probabilities
    assert stored(live, service.data_dir) == before


def test_cells_come_back_as_they_were_written(live: Client, people_model: dict[str, Any]) -> None:
    lines = [
        "prediction;age;since;city;member;note;probability_no",
        '007;70.50;2024-03-01;Oslo;TRUE;"one; two";1',
        ';;"01.03.2024";Paris;false;=1+1;1e3',
    ]
    answer = post(live, f"/v1/models/{people_model['id']}", "\r\n".join(lines).encode("utf-16"))
    first, second = rows(answer, ";")
    assert list(first) == [
        *("prediction", "age", "since", "city", "member", "note", "probability_no"),
        *("prediction_2", "probability_no_2", "probability_yes"),
    ]
    assert list(first.values())[:7] == [
        *("007", "70.50", "2024-03-01", "Oslo", "TRUE", "one; two", "1"),
    ]
    assert list(second.values())[:7] == [
        *("", "", "01.03.2024", "Paris", "false", "'=1+1", "1e3"),
    ]
    instances = [["Oslo", 70.5, "2024-03-01", True], ["Paris", None, "2024-03-01", False]]
    told = live.post(
        f"/v1/models/{people_model['id']}/predict", json={"instances": instances}
    ).json()
    assert [row["prediction_2"] for row in (first, second)] == told["predictions"]
    assert float(first["probability_no_2"]) == told["probabilities"][0][0]


def test_a_date_means_what_its_column_says(live: Client, people_model: dict[str, Any]) -> None:
    path = f"/v1/models/{people_model['id']}"
    head = "city,age,member,since\n"
    european, american, spaced, plain = (
        post(live, path, f"{head}Oslo,70,true,{a}\nOslo,70,true,{b}\n".encode())
        for a, b in (
            ("02/03/2024", "31/03/2024"),
            ("03/02/2024", "03/31/2024"),
            (" 02/03/2024", "\t31/03/2024 "),
            ("2024-03-02", "2024-03-31"),
        )
    )
    probabilities = [
        [row["probability_yes"] for row in rows(answer)]
        for answer in (european, american, spaced, plain)
    ]
    assert probabilities[0] == probabilities[1] == probabilities[2] == probabilities[3]
    ambiguous = post(live, path, f"{head}Oslo,70,true,02/03/2024\n".encode())
    detail = assert_problem(ambiguous, 422, "invalid_request", "/file")
    assert "column 'since': '02/03/2024' may be" in detail


def test_a_file_may_be_of_any_format_and_come_back_as_parquet(live: Client, path: str) -> None:
    cells = tables.rows(tables.flowers(5))
    lengths, widths = (np.array([float(row[place]) for row in cells]) for place in (0, 1))
    frame = pl.DataFrame({"petal_width": widths, "petal_length": lengths, "=n": [5, 4, 3, 2, None]})
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    told = rows(post(live, path, tables.flowers(5)))
    response = post(live, path, gzip.compress(parquet.getvalue(), mtime=0), headers=PARQUET)
    assert response.headers["content-type"] == PARQUET["Accept"]
    assert 'filename="predictions.parquet"' in response.headers["content-disposition"]
    answer = pl.read_parquet(response.content)
    assert answer.select(frame.columns).equals(frame)
    assert answer["prediction"].to_list() == [row["prediction"] for row in told]
    assert answer["probability_setosa"].dtype == pl.Float64
    npz = tables.npz(petal_length=lengths, petal_width=widths)
    by_npz = rows(post(live, path, npz))
    assert [row["probability_setosa"] for row in by_npz] == [
        row["probability_setosa"] for row in told
    ]


def test_a_file_is_read_as_its_owner_says(live: Client, people_model: dict[str, Any]) -> None:
    table = "city|age|since|member\nK\xf6ln|unknown|2024-01-02|true\n".encode("latin-1")
    options = {"delimiter": "|", "encoding": "latin-1", "missing": "unknown"}
    path = f"/v1/models/{people_model['id']}"
    [row] = rows(post(live, path, table, data=options), "|")
    assert (row["city"], row["age"]) == ("Köln", "unknown")
    dotted = table.replace(b"|", b".")
    [row] = rows(post(live, path, dotted, data=options | {"delimiter": "."}), ",")
    assert (row["city"], row["age"]) == ("Köln", "unknown")
    for field, value in (("delimiter", "ab"), ("name", "rows"), ("delimeter", "|")):
        response = post(live, path, table, data={field: value})
        assert_problem(response, 422, "invalid_request", f"/{field}")


def test_several_targets_have_a_column_each(live: Client) -> None:
    dataset = upload(live, tables.outcomes())
    for targets, names in (
        (["sum", "gap"], ["prediction_sum", "prediction_gap"]),
        (["pos"], ["prediction", "probability_0", "probability_1"]),
        (
            ["pos", "big"],
            ["prediction_pos", "prediction_big", "probability_pos", "probability_big"],
        ),
    ):
        job = train(live, dataset["id"], targets, training={"epochs": 1})
        answer = rows(post(live, f"/v1/models/{job['model']}", tables.outcomes(8)))
        assert list(answer[0])[6:] == names
        assert json.loads(answer[0][names[0]]) is not None
        assert len(answer) == 8


@pytest.mark.parametrize("flaw", UNUSABLE)
def test_one_row_that_cannot_be_used_is_told_before_anything_is_answered(
    live: Client, service: Service, path: str, flaw: str
) -> None:
    file, reason = UNUSABLE[flaw]
    before = stored(live, service.data_dir)
    response = post(live, path, file, headers={"Accept": "text/csv"})
    assert reason in assert_problem(response, 422, "invalid_request", "/file")
    assert stored(live, service.data_dir) == before


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A model of this process's own."""
    path = tmp_path_factory.mktemp("table") / "people.csv"
    path.write_bytes(tables.people(60))
    run = tabular_run(read(path), target="leaves", features=["age", "city", "since"])
    return Predictor(run.model, run.description)


@pytest.mark.parametrize("media_type", ["text/csv", PARQUET["Accept"]])
def test_it_does_not_show_how_many_rows_were_predicted_at_once(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    limits = Limits(max_bytes=10**6, memory_bytes=2**30, seconds=60, max_columns=100)

    def predict(lines: list[str]) -> bytes:
        file = UploadFile(io.BytesIO("\n".join(["age,city,since", *lines]).encode()))
        with Upload(tmp_path, [file]) as upload:
            path = inference.predict_file(
                predictor,
                upload,
                ReadOptions(),
                limits=limits,
                media_type=media_type,
                with_inputs=True,
            )
            answer = path.read_bytes()
        if media_type != "text/csv":
            assert list(pl.read_parquet(answer).columns)[:3] == ["age", "city", "since"]
            answer = pl.read_parquet(answer).write_csv().encode()
        assert list(tmp_path.iterdir()) == []
        return answer

    # Only the last date tells that all of them have the day first.
    lines = [f"{20 + day},Oslo, {day:02}/01/2024" for day in range(1, 14)]
    at_once = predict(lines)
    assert at_once.count(b"\n") == 14
    monkeypatch.setattr(serving_tables, "MAX_CELLS", predictor.description.encoder.num_columns * 3)
    assert predict(lines) == at_once
    monkeypatch.setattr(serving_tables, "MAX_BATCH_ROWS", 5)
    assert predict(lines) == at_once
    with pytest.raises(RequestError, match=r"row 13, column 'age': 'old' is no number"):
        predict([*lines[:12], "old,Oslo,13/01/2024"])


def batch_rows(predictor: Predictor, folder: Path, table: pl.DataFrame) -> int:
    table.write_parquet(folder / "table")
    stored_table = pl.scan_parquet(folder / "table")
    return serving_tables.batch_rows(predictor, stored_table, num_rows=len(table))


def test_rows_are_predicted_so_many_at_once_as_their_text_allows(
    predictor: Predictor, tmp_path: Path
) -> None:
    numbers = pl.DataFrame({"n": [1.0, None]})
    assert batch_rows(predictor, tmp_path, numbers) == 65_536
    # A mebibyte of text a row on average, two bytes a character.
    longer = numbers.with_columns(text=pl.Series(["\u00e4" * 2**20, None]))
    assert batch_rows(predictor, tmp_path, longer) == 64


def test_of_a_wide_table_a_thousand_rows_are_predicted_at_once(
    predictor: Predictor, tmp_path: Path
) -> None:
    wide = pl.DataFrame({str(n): [1] for n in range(5_000)})
    assert batch_rows(predictor, tmp_path, wide) == 1_000


def test_what_is_answered_has_to_be_accepted(live: Client, path: str) -> None:
    response = post(live, path, tables.flowers(), headers={"Accept": "application/json"})
    assert "text/csv" in assert_problem(response, 406, "not_acceptable")
    several = [("Accept", "application/json"), *PARQUET.items()]
    response = post(live, path, tables.flowers(), headers=several)
    assert response.headers["content-type"] == PARQUET["Accept"]


def test_a_file_may_be_larger_than_other_bodies_and_not_than_uploads(
    live: Client, path: str
) -> None:
    line = b"1.234567,1.234567\n"
    head = b"petal_length,petal_width\n"
    fits = head + line * (SETTINGS["max_request_bytes"] // len(line) + 1)
    assert post(live, path, fits).status_code == 200
    too_large = head + line * (2 * SETTINGS["max_upload_bytes"] // len(line))
    assert_problem(post(live, path, too_large), 413, "body_too_large")
