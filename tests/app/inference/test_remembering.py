"""A model reads what it is asked about as its own table was read."""

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
import pytest

from tests.support.client import train, upload
from tests.support.problems import assert_problem

Client = httpx.Client

NUM_ROWS = 120
HEAD = "day;2019;shop;price;*;part;sales"


def line(row: int, *, price: str, size: str) -> str:
    part = {8: "validation", 9: "test"}.get(row % 10, "train")
    day = f"{row % 28 + 1:02}/{row % 12 + 1:02}/2023"
    return f"{day};{row % 7};{'AB'[row % 2]};{price};{size};{part};{row % 5},5"


def table() -> str:
    """Dates with the day first, decimal commas, a number for a name, and a hole in a test row."""
    lines = [
        line(
            row,
            price="tbd" if row == 0 else f"1.{row:03},5",
            size="" if row == 19 else f"{row / 4}".replace(".", ","),
        )
        for row in range(NUM_ROWS)
    ]
    return "\n".join([HEAD, *lines])


ROW = {"day": "25/12/2023", "2019": "3", "shop": " B ", "price": "1.003,5", "*": "0,75"}


@pytest.fixture(scope="module")
def dataset(live: Client) -> dict[str, Any]:
    return upload(live, table().encode(), data={"missing": "tbd"})


@pytest.fixture(scope="module")
def path(live: Client, dataset: dict[str, Any]) -> str:
    """A model without dropout, whose features have another order than the table."""
    job = train(
        live,
        dataset["id"],
        "sales",
        dataset={
            "split": {"kind": "column", "column": "part"},
            "features": ["price", "day", "2019", "shop", "*"],
            "types": {"sales": "numeric"},
        },
        model={"hidden": [4], "hidden_dropout": 0.0},
        training={"epochs": 2},
    )
    return f"/v1/models/{job['model']}"


def predicted(live: Client, path: str, row: dict[str, Any], **fields: Any) -> float:
    response = live.post(f"{path}/predict", json={"instances": [row], **fields})
    assert response.status_code == 200, response.text
    [value] = response.json()["predictions"]
    return float(value)


def predicted_file(live: Client, path: str, file: bytes | str, **fields: Any) -> pl.DataFrame:
    content = file.encode() if isinstance(file, str) else file
    accept = {"Accept": "application/vnd.apache.parquet"}
    response = live.post(
        f"{path}/predict-file", files={"file": ("rows", content)}, data=fields, headers=accept
    )
    assert response.status_code == 200, response.text
    return pl.read_parquet(response.content)


def test_text_means_what_it_meant_in_the_table(live: Client, path: str) -> None:
    value = predicted(live, path, ROW)
    typed = {"day": "2023-12-25", "2019": 3, "shop": "B", "price": 1003.5, "*": 0.75}
    assert predicted(live, path, typed) == value
    # One row, whose numbers and name could be read in two ways.
    names, cells = ";".join(ROW), ";".join(ROW.values())
    assert predicted_file(live, path, f"{names}\n{cells}")["prediction"].to_list() == [value]
    early = {**ROW, "day": "03/04/2023"}
    answer = predicted_file(live, path, f"{names}\n{';'.join(early.values())}")
    assert answer["prediction"].to_list() == [predicted(live, path, {**typed, "day": "2023-04-03"})]


def test_options_say_where_a_file_is_written_otherwise(live: Client, path: str) -> None:
    file = "day,2019,shop,price,*\n12/25/2023,3,B,1003.5,0.75\n"
    answer = predicted_file(live, path, file, decimal="point", day_first="false")
    assert answer["prediction"].to_list() == [predicted(live, path, ROW)]
    stamped = "day,2019,shop,price,*\n20231225,3,B,1003.5,0.75\n"
    answer = predicted_file(live, path, stamped, decimal="point", date_format="%Y%m%d")
    assert answer["prediction"].to_list() == [predicted(live, path, ROW)]


def test_the_model_s_own_file_can_be_scored_and_predicted(
    live: Client, path: str, dataset: dict[str, Any]
) -> None:
    own = predicted_file(live, path, table())
    scores = live.post(f"{path}/evaluate", json={"dataset": dataset["id"]}).json()
    assert scores["num_rows"] == len(own) == NUM_ROWS
    truth = pl.Series([row % 5 + 0.5 for row in range(NUM_ROWS)])
    assert scores["metrics"]["mae"] == pytest.approx((own["prediction"] - truth).abs().mean())
    measured = live.post(f"{path}/importance", json={"dataset": dataset["id"], "num_repeats": 1})
    assert measured.status_code == 200
    assert live.post(f"{path}/importance", json={"num_repeats": 1}).status_code == 200
    # Another upload of the same cells, as text: read by the model, not by the file.
    frame = pl.read_csv(table().encode(), separator=";", infer_schema=False)
    content = io.BytesIO()
    frame.write_parquet(content)
    other = upload(live, content.getvalue())
    assert live.post(f"{path}/evaluate", json={"dataset": other["id"]}).json() == scores
    assert predicted_file(live, path, content.getvalue())["prediction"].equals(own["prediction"])


def test_missing_means_the_same_everywhere(live: Client, path: str) -> None:
    """The table misses prices and, in a row that was held out, a size; it misses no `2019`."""
    assert predicted(live, path, {**ROW, "*": None, "price": "tbd"})
    hole = {**ROW, "2019": None}
    refused = live.post(f"{path}/predict", json={"instances": [hole]})
    assert "impute" in assert_problem(refused, 422, "invalid_request", "/instances/0/2019")
    value = predicted(live, path, hole, missing="impute")
    file = ";".join(ROW) + "\n" + ";".join("" if n == "2019" else ROW[n] for n in ROW)
    form = {"files": {"file": ("rows", file.encode())}}
    refused = live.post(f"{path}/predict-file", **form)
    assert "row 1, column '2019'" in assert_problem(refused, 422, "invalid_request", "/file")
    assert predicted_file(live, path, file, missing="impute")["prediction"].to_list() == [value]
    words = predicted_file(live, path, file.replace(";;", ";gone;"), missing=["gone", "impute"])
    assert words["prediction"].to_list() == [value]
    both = live.post(f"{path}/predict-file", data={"missing": ["refuse", "impute"]}, **form)
    assert_problem(both, 422, "invalid_request", "/missing")
    lines = table().splitlines()
    cut = "\n".join([lines[0], *(row.replace(";3;", ";;", 1) for row in lines[1:])])
    holes = upload(live, cut.encode())
    for call in ("evaluate", "importance"):
        body = {"dataset": holes["id"]}
        refused = live.post(f"{path}/{call}", json=body)
        assert "column '2019'" in assert_problem(refused, 422, "invalid_request", "/dataset")
        assert live.post(f"{path}/{call}", json={**body, "missing": "impute"}).status_code == 200


def test_an_array_in_an_unknown_order_is_refused(live: Client, path: str) -> None:
    # All columns of the table but the target are as long as nothing else: they tell their order.
    columns = [[ROW["day"], "3", "B", "1.003,5", "0,75", "train"]]
    response = live.post(f"{path}/predict", json={"instances": columns})
    assert response.json()["predictions"] == [predicted(live, path, ROW)]


def test_a_model_without_dropout_has_no_samples(live: Client, path: str) -> None:
    response = live.post(f"{path}/predict", json={"instances": [ROW], "mc_dropout": {}})
    assert "no dropout" in assert_problem(response, 422, "invalid_request", "/mc_dropout")


def test_the_columns_of_a_parquet_file_come_back_as_they_were(live: Client, path: str) -> None:
    moment = dt.datetime(2023, 12, 25)
    typed = {"day": moment, "2019": 3, "shop": "B", "price": 1003.5, "*": 0.75}
    frame = pl.DataFrame([typed, typed]).with_columns(
        pl.Series("account", [Decimal(10**19), None], dtype=pl.Decimal(20, 0)),
        pl.Series("seen", [moment, None]).dt.replace_time_zone("Asia/Tokyo"),
        pl.Series("share", [0.1, float("nan")], dtype=pl.Float32),
        pl.Series("tags", [["a", "b"], None]),
        pl.Series("raw", [b"\x00", None]),
    )
    content = io.BytesIO()
    frame.write_parquet(content)
    answer = predicted_file(live, path, content.getvalue())
    assert answer.drop("prediction").equals(frame)
    assert answer.schema == {**frame.schema, "prediction": pl.Float64()}
    form = {"files": {"file": ("rows", content.getvalue())}}
    refused = live.post(f"{path}/predict-file", **form)
    assert "accept Parquet" in assert_problem(refused, 422, "invalid_request", "/file")
    assert live.post(f"{path}/predict-file", data={"inputs": "false"}, **form).is_success
    unusable = frame.with_columns(shop=pl.Series([["B"], ["B"]]))
    content = io.BytesIO()
    unusable.write_parquet(content)
    refused = live.post(f"{path}/predict-file", files={"file": ("rows", content.getvalue())})
    assert "column 'shop'" in assert_problem(refused, 422, "invalid_request", "/file")


def test_a_file_comes_back_without_its_columns_where_that_is_asked_for(
    live: Client, path: str
) -> None:
    assert predicted_file(live, path, table(), inputs="false").columns == ["prediction"]
