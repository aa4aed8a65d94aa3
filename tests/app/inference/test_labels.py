"""A column that lists labels, such as `action|drama`, from the upload to predictions."""

import csv
import io
from typing import Any

import httpx
import pytest

from tests.support.client import train, upload
from tests.support.problems import assert_problem

Client = httpx.Client

TRAINING = {"epochs": 2, "batch_size": 16, "device": "cpu"}


def film(row: int) -> str:
    genres = ("action|drama", "drama", " comedy |action", "", "|")[row % 5]
    return f"{row % 7},{row % 11},{genres}"


def films(*others: str) -> bytes:
    rows = [film(row) for row in range(100)]
    return "\n".join(["length,year,genres", *rows, *others]).encode()


@pytest.fixture(scope="module")
def dataset(live: Client) -> str:
    return str(upload(live, films())["id"])


@pytest.fixture(scope="module")
def job(live: Client, dataset: str) -> dict[str, Any]:
    return train(
        live,
        dataset,
        "genres",
        dataset={"target_delimiter": "|"},
        model={"hidden": [4]},
        training=TRAINING,
    )


def test_the_job_says_what_it_made_of_the_column(live: Client, job: dict[str, Any]) -> None:
    assert job["state"] == "succeeded"
    config = job["resolved_config"]
    assert config["task"] == "multilabel"
    assert config["dataset"]["target"] == "genres"
    assert config["dataset"]["target_delimiter"] == "|"
    assert config["dataset"]["features"] == ["length", "year"]
    [warning] = job["warnings"]
    assert warning == (
        "each column of 'action', 'comedy', 'drama': 20 rows are left out, having no target"
    )
    again = live.post("/v1/jobs", params={"validate_only": True}, json=config)
    assert again.json()["resolved_config"] == config


def test_the_model_names_its_labels(live: Client, job: dict[str, Any]) -> None:
    model = live.get(f"/v1/models/{job['model']}").json()
    assert model["target"] == model["classes"] == ["action", "comedy", "drama"]
    card = live.get(f"/v1/models/{job['model']}/card").text
    assert "labels that genres lists: action, comedy, drama" in card
    row = {"length": 3, "year": 5, "genres": "unknown"}
    answer = live.post(f"/v1/models/{job['model']}/predict", json={"instances": [row]}).json()
    assert list(answer["predictions"][0]) == answer["classes"] == ["action", "comedy", "drama"]
    file = live.post(f"/v1/models/{job['model']}/predict-file", files={"file": ("rows", films())})
    first = next(csv.DictReader(io.StringIO(file.text)))
    assert first["genres"] == "action|drama"
    assert {"prediction_action", "probability_drama"} <= set(first)


def test_it_is_scored_on_the_column_or_on_one_for_each_label(
    live: Client, dataset: str, job: dict[str, Any]
) -> None:
    path = f"/v1/models/{job['model']}"

    def scored(dataset: str, call: str = "evaluate") -> dict[str, Any]:
        response = live.post(f"{path}/{call}", json={"dataset": dataset})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    lines = [line.split(",") for line in films().decode().splitlines()[1:]]
    labels = ("action", "comedy", "drama")
    rows = [
        [*cells, *("" if not genres else str(label in genres).lower() for label in labels)]
        for *cells, genres in lines
    ]
    header = ["length", "year", *labels]
    columns = upload(live, "\n".join(",".join(row) for row in [header, *rows]).encode())["id"]
    assert scored(columns) == scored(dataset)
    assert scored(dataset)["num_rows"] == 80
    assert scored(columns, "importance") == scored(dataset, "importance")
    held_out = live.post(f"{path}/importance", json={}).json()
    assert held_out["num_rows"] == 8


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,2,drama|war", "column 'genres': 'drama|war' has 'war', which is none of the 3 labels"),
        (",2,drama", "column 'length': a value is missing"),
    ],
)
@pytest.mark.parametrize("call", ["evaluate", "importance"])
def test_a_row_that_cannot_be_scored_is_named(
    live: Client, job: dict[str, Any], call: str, row: str, message: str
) -> None:
    dataset = upload(live, films(row))["id"]
    response = live.post(f"/v1/models/{job['model']}/{call}", json={"dataset": dataset})
    text = assert_problem(response, 422, "invalid_request", "/dataset")
    assert f"row 101, {message}" in text  # of 80 with a target


@pytest.mark.parametrize(
    ("changes", "pointer", "message"),
    [
        ({"task": "binary"}, "/dataset/target_delimiter", "not binary"),
        ({"dataset": {"target_delimiter": ""}}, "/dataset/target_delimiter", "1 character"),
        ({"dataset": {"target_delimiter": "|" * 9}}, "/dataset/target_delimiter", "8 characters"),
        ({"dataset": {"target": ["genres", "year"]}}, "/dataset/target_delimiter", "one column"),
        ({"dataset": {"target": "year"}}, "/dataset/target_delimiter", "number column"),
        ({"dataset": {"features": ["genres"]}}, "/dataset/features", "cannot be a feature"),
        ({"dataset": {"types": {"genres": "text"}}}, "/dataset/types/genres", "no type"),
        ({"training": {"class_weights": "balanced"}}, "/training/class_weights", "labels"),
    ],
)
def test_a_job_that_cannot_split_its_target_is_refused(
    live: Client, dataset: str, changes: dict[str, Any], pointer: str, message: str
) -> None:
    columns = {"id": dataset, "target": "genres", "target_delimiter": "|"}
    body = {**changes, "dataset": columns | changes.get("dataset", {})}
    response = live.post("/v1/jobs", json=body)
    assert message in assert_problem(response, 422, "invalid_request", pointer)


@pytest.mark.parametrize(
    ("genres", "pointer", "message"),
    [
        (["year|drama", "drama"], "/dataset/target_delimiter", "rename the column"),
        (["war|drama", "drama"], "/dataset/target", "'drama': all values are the same"),
        (["|", ""], "/dataset/target_delimiter", "no row has a label"),
    ],
)
def test_a_job_whose_labels_cannot_be_told_apart_is_refused(
    live: Client, genres: list[str], pointer: str, message: str
) -> None:
    rows = [f"{row},{genres[row % 2]}" for row in range(40)]
    dataset = upload(live, "\n".join(["year,genres", *rows]).encode())["id"]
    columns = {"id": dataset, "target": "genres", "target_delimiter": "|"}
    response = live.post("/v1/jobs", json={"dataset": columns})
    assert message in assert_problem(response, 422, "invalid_request", pointer)
