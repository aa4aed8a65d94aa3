import math
import re
import tracemalloc
from typing import Any

import httpx
import polars as pl
import pytest
import torch

from app.serving import instances
from dropout_core.config import PreprocessingConfig
from dropout_core.model import predictor as predictor_module
from dropout_core.model.predictor import Predictor
from tests.support import tables
from tests.support.client import train, upload
from tests.support.problems import assert_problem
from tests.support.served_models import tabular_run
from tests.support.service import Service

Client = httpx.Client

UNUSABLE_ROWS: dict[str, tuple[Any, str, str]] = {
    "one feature short": ([1.0], "", "1 values for 2 features"),
    "one feature too many": ([1.0, 2.0, 3.0], "", "3 values for 2 features"),
    "no features": ([], "", "0 values for 2 features"),
    "null": ([1.0, None], "/1", "missing"),
    "words": (["flat", 2.0], "/0", "'flat' is no number"),
    "a number too large": ([1.0, 10**400], "/1", "infinite"),
    "a list within": ([[1.0], 2.0], "/0", "number"),
    "unknown name": (
        {"petal_length": 1.0, "petal_width": 1.0, "a/b~c": 1.0},
        *("/a~1b~0c", "no such column"),
    ),
    "missing name": ({"petal_length": 1.0}, "/petal_width", "a value is missing"),
    "null by name": ({"petal_length": None, "petal_width": 1.0}, "/petal_length", "missing"),
    "no row": (1.0, "", "array"),
}


@pytest.fixture(scope="package")
def path(flower_model: dict[str, Any]) -> str:
    return f"/v1/models/{flower_model['id']}"


def probabilities(client: Client, path: str, instances: list[Any]) -> list[str]:
    """Each row's probabilities as the answer's text has them, which shows every bit."""
    response = client.post(f"{path}/predict", json={"instances": instances})
    assert response.status_code == 200, response.text
    (table,) = re.findall(r'"probabilities":\[(\[.*?\])\]', response.text)
    rows = re.findall(r"\[(.*?)\]", table)
    assert len(rows) == len(instances)
    return rows


def test_rows_are_told_apart(live: Client, path: str, flower_model: dict[str, Any]) -> None:
    instances = [[1.5, 0.25], [4.3, 1.3], [5.6, 2.0]]
    answer = live.post(f"{path}/predict", json={"instances": instances}).json()
    assert answer["predictions"] == answer["classes"] == flower_model["classes"]
    assert answer["model"] == flower_model["id"]
    assert answer["task"] == "multiclass"
    assert answer["fingerprint"].startswith("cpu/")
    for row in answer["probabilities"]:
        assert sum(row) == pytest.approx(1)


def test_rows_may_be_objects_in_any_order(live: Client, path: str) -> None:
    rows = [
        [4.5, 1.4],
        {"petal_length": 4.5, "petal_width": 1.4},
        {"petal_width": 1.4, "petal_length": 4.5},
    ]
    assert len(set(probabilities(live, path, rows))) == 1


def test_a_row_has_the_same_bits_in_any_company(live: Client, path: str) -> None:
    row = [4.97, 1.63]
    others = [[n * 0.37 % 7, n * 0.11 % 3] for n in range(100)]
    (alone,) = probabilities(live, path, [row])
    for size in (1, 15, 31, 32, 33, 64, 100):
        for place in (0, size // 2, size):
            company = [*others[:place], row, *others[place:size]]
            assert probabilities(live, path, company)[place] == alone


def test_predictions_do_not_drop_units(live: Client, path: str) -> None:
    assert len({*probabilities(live, path, [[4.97, 1.63]] * 50)}) == 1


def test_an_evaluation_is_what_the_predictions_say(
    live: Client, path: str, flowers: dict[str, Any], flower_model: dict[str, Any]
) -> None:
    cells = tables.rows(tables.flowers())
    instances = [[float(length), float(width)] for length, width, _ in cells]
    answer = live.post(f"{path}/predict", json={"instances": instances}).json()
    classes = flower_model["classes"]
    expected = [[0] * 3 for _ in range(3)]
    logs = []
    for (_, _, label), told, row in zip(
        cells, answer["predictions"], answer["probabilities"], strict=True
    ):
        expected[classes.index(label)][classes.index(told)] += 1
        logs.append(-math.log(row[classes.index(label)]))
    evaluation = live.post(f"{path}/evaluate", json={"dataset": flowers["id"]}).json()
    assert evaluation["num_rows"] == 90
    assert evaluation["confusion_matrix"] == expected
    assert evaluation["metrics"]["accuracy"] == sum(expected[n][n] for n in range(3)) / 90
    assert evaluation["metrics"]["log_loss"] == pytest.approx(sum(logs) / 90)


def test_an_evaluation_takes_columns_by_name(live: Client, path: str) -> None:
    lines = [[width, "0", label, length] for length, width, label in tables.rows(tables.flowers())]
    header = ["petal_width", "more", "label", "petal_length"]
    table = "\n".join(",".join(line) for line in [header, *lines]).encode()
    results = [
        live.post(f"{path}/evaluate", json={"dataset": upload(live, file)["id"]}).json()
        for file in (tables.flowers(), table)
    ]
    assert results[0] == results[1]


def test_an_evaluation_tells_of_each_class_and_how_sure_it_was(
    live: Client, path: str, flowers: dict[str, Any]
) -> None:
    evaluation = live.post(f"{path}/evaluate", json={"dataset": flowers["id"]}).json()
    assert [scores["class"] for scores in evaluation["per_class"]] == sorted(tables.KINDS)
    assert [scores["num_rows"] for scores in evaluation["per_class"]] == [30, 30, 30]
    assert sum(bin_["num_rows"] for bin_ in evaluation["reliability"]) == 90
    assert evaluation["per_target"] is None


def test_a_metric_that_its_rows_do_not_define_is_null(live: Client, path: str) -> None:
    table = b"petal_length,petal_width,label\n1.5,0.2,setosa\n1.4,0.3,setosa\n1,0.2,\n"
    body = {"dataset": upload(live, table)["id"]}
    evaluation = live.post(f"{path}/evaluate", json=body).json()
    assert evaluation["num_rows"] == 2
    assert evaluation["metrics"]["roc_auc"] is None
    assert evaluation["metrics"]["accuracy"] is not None


def test_cells_of_every_kind_are_taken_as_they_are(
    live: Client, people_model: dict[str, Any]
) -> None:
    rows = [
        {"city": "Oslo", "age": 70, "since": "2024-03-01", "member": True},
        {"member": "true", "since": "2024-03-01T00:00:00Z", "age": "70", "city": "Oslo"},
        ["Oslo", 70.0, "2024-03-01", 1],
    ]
    path = f"/v1/models/{people_model['id']}"
    assert len(set(probabilities(live, path, rows))) == 1
    # What is missing, or was never seen, has an answer where training saw such a thing.
    unknown = [{"since": "2024-03-01", "member": False}, ["Paris", None, "2024-03-01", False]]
    assert len(set(probabilities(live, path, unknown))) == 1
    for cell, value in {"since": "some day", "age": "old", "member": 2, "city": ["Rome"]}.items():
        response = live.post(f"{path}/predict", json={"instances": [rows[1] | {cell: value}]})
        assert_problem(response, 422, "invalid_request", f"/instances/0/{cell}")


def test_several_targets_are_predicted_by_name(live: Client) -> None:
    numbers = upload(live, tables.outcomes())
    training = {"epochs": 3}
    jobs = {
        task: train(live, numbers["id"], targets, training=training)
        for task, targets in {"regression": ["sum", "gap"], "multilabel": ["pos", "big"]}.items()
    }
    answers = {}
    for task, job in jobs.items():
        assert (job["state"], job["resolved_config"]["task"]) == ("succeeded", task)
        path = f"/v1/models/{job['model']}"
        model = live.get(path).json()
        rows = {"instances": [dict.fromkeys(model["features"], 0.5)]}
        answers[task] = live.post(f"{path}/predict", json=rows).json()
        assert model["target"] == list(answers[task]["predictions"][0])
        body = {"dataset": numbers["id"]}
        answers[task]["evaluation"] = live.post(f"{path}/evaluate", json=body).json()
    values, labels = answers["regression"], answers["multilabel"]
    assert values["classes"] is values["probabilities"] is None
    assert [part["target"] for part in values["evaluation"]["per_target"]] == ["sum", "gap"]
    assert labels["classes"] == ["pos", "big"]
    (prediction,), (probability,) = labels["predictions"], labels["probabilities"]
    assert list(prediction.values()) == [share > 0.5 for share in probability]
    assert [part["class"] for part in labels["evaluation"]["per_class"]] == ["pos", "big"]


def test_rows_are_predicted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"note": ["good", "bad"] * 10, "y": [1.0, 0.0] * 10})
    buckets = PreprocessingConfig(text_buckets=4096)
    run = tabular_run(frame, target="y", types={"note": "text"}, preprocessing=buckets)
    predictor = Predictor(run.model, run.description)
    monkeypatch.setattr(predictor_module, "MAX_CELLS", 4096 * 64)
    tracemalloc.start()
    try:
        parts = instances.encode(predictor, [["good"]] * 2_000, refuse_missing=True)
        answers = [predictor.outputs(torch.from_numpy(part)) for part in parts]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(torch.cat(answers).unique(dim=0)) == 1
    # All rows at once are 62 MiB, and a part of them is 2.
    assert peak < 16 * 2**20


def test_two_classes_of_numbers_from_an_npz(live: Client) -> None:
    dataset = upload(live, tables.points())
    training = {"epochs": 40, "batch_size": 8, "optimizer": {"name": "adam", "lr": 0.02}}
    job = train(live, dataset["id"], "y", model={"hidden": [8]}, training=training)
    path = f"/v1/models/{job['model']}/predict"
    answer = live.post(path, json={"instances": [[2.0, -2.0], {"x_1": 2, "x_0": -2}]}).json()
    assert job["resolved_config"]["task"] == answer["task"] == "binary"
    assert answer["classes"] == [0, 1]
    assert answer["predictions"] == [1, 0]


def test_a_regression_predicts_values_in_their_own_units(live: Client) -> None:
    dataset = upload(live, tables.waves())
    training = {"epochs": 60, "batch_size": 8, "optimizer": {"name": "adam", "lr": 0.01}}
    model = {"hidden": [32], "hidden_dropout": 0.0, "activation": "tanh"}
    job = train(live, dataset["id"], "y", model=model, training=training)
    path = f"/v1/models/{job['model']}"
    cells = [[float(cell) for cell in row] for row in tables.rows(tables.waves())]
    answer = live.post(f"{path}/predict", json={"instances": [[x] for x, _ in cells]}).json()
    assert answer["task"] == "regression"
    assert answer["probabilities"] is answer["classes"] is None
    squares = [(told - y) ** 2 for told, (_, y) in zip(answer["predictions"], cells, strict=True)]
    evaluation = live.post(f"{path}/evaluate", json={"dataset": dataset["id"]}).json()
    assert evaluation["confusion_matrix"] is None
    assert evaluation["metrics"]["rmse"] == pytest.approx(math.sqrt(sum(squares) / len(squares)))
    assert evaluation["metrics"]["r2"] > 0.5


@pytest.mark.parametrize("flaw", UNUSABLE_ROWS)
def test_an_unusable_row_is_refused_where_it_is_unusable(
    live: Client, path: str, flaw: str
) -> None:
    row, pointer, reason = UNUSABLE_ROWS[flaw]
    response = live.post(f"{path}/predict", json={"instances": [[1.0, 2.0], row]})
    detail = assert_problem(response, 422, "invalid_request", f"/instances/1{pointer}")
    assert reason in detail


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_feature_has_to_be_finite(live: Client, path: str, literal: str) -> None:
    response = live.post(
        f"{path}/predict",
        content=f'{{"instances": [[1.0, {literal}]]}}',
        headers={"Content-Type": "application/json"},
    )
    assert_problem(response, 422, "invalid_request", "/instances/0/1")


@pytest.mark.parametrize("size", [1e308, -1e308])
def test_features_beyond_all_measure_are_refused(live: Client, path: str, size: float) -> None:
    response = live.post(f"{path}/predict", json={"instances": [[1.0, 1.0], [size, 1.0]]})
    assert "too large" in assert_problem(response, 422, "invalid_request", "/instances/1")
    table = f"petal_length,petal_width,label\n{size},1,setosa\n".encode()
    body = {"dataset": upload(live, table)["id"]}
    response = live.post(f"{path}/evaluate", json=body)
    assert "too large" in assert_problem(response, 422, "invalid_request", "/dataset")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"instances": []}, "/instances"),
        ({"instances": "all"}, "/instances"),
        ({}, "/instances"),
        ({"instances": [[1.0, 2.0]], "dropout": True}, "/dropout"),
    ],
)
def test_rows_are_all_that_a_prediction_takes(
    live: Client, path: str, body: dict[str, Any], pointer: str
) -> None:
    assert_problem(live.post(f"{path}/predict", json=body), 422, "invalid_request", pointer)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"petal_length,label\n1.5,setosa\n", "'petal_width'"),
        (b"petal_length,petal_width\n1.5,0.2\n", "'label'"),
        (b"petal_length,petal_width,label\n1.5,0.2,rose\n", "'rose'"),
        (
            b"petal_length,petal_width,label\n1.5,0.2,setosa\n1.5,,setosa\n",
            "row 2, column 'petal_width'",
        ),
        (b"petal_length,petal_width,label\n1.5,flat,setosa\n", "'flat' is no number"),
        (b"petal_length,petal_width,label\n1.5,0.2,\n1.5,0.2,\n", "'label'"),
    ],
)
def test_a_dataset_that_does_not_fit_the_model_is_refused(
    live: Client, path: str, table: bytes, reason: str
) -> None:
    body = {"dataset": upload(live, table)["id"]}
    response = live.post(f"{path}/evaluate", json=body)
    assert reason in assert_problem(response, 422, "invalid_request", "/dataset")


def test_an_evaluation_needs_a_dataset_that_is_there(live: Client, path: str) -> None:
    response = live.post(f"{path}/evaluate", json={"dataset": "ds_0"})
    assert "ds_0" in assert_problem(response, 422, "invalid_request", "/dataset")


@pytest.mark.parametrize("call", ["evaluate", "importance"])
def test_a_damaged_table_is_not_scored(
    live: Client, service: Service, path: str, call: str
) -> None:
    """One bit makes another number of a number, which no reader of Parquet can know."""
    body = {"dataset": upload(live, tables.flowers())["id"]}
    assert live.post(f"{path}/{call}", json=body).status_code == 200
    [table] = service.data_dir.glob(f"artifacts/datasets/{body['dataset']}.*")
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(content)
    response = live.post(f"{path}/{call}", json=body)
    assert "does not match its checksum" in assert_problem(response, 500, "artifact_damaged")
    live.delete(f"/v1/datasets/{body['dataset']}")
