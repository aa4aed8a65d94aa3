from typing import Any

import httpx
import polars as pl
import pytest
import torch

from app.http.errors import RequestError
from app.inference import importance
from app.inference.importance import Importances
from app.inference.schemas import ImportanceRequest
from dropout_core.config import MLPConfig
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.tabular_run import Experiment
from tests.support import tables
from tests.support.client import train, upload
from tests.support.problems import assert_problem
from tests.support.service import Service

Client = httpx.Client


def measure(client: Client, model: dict[str, Any], **body: Any) -> httpx.Response:
    return client.post(f"/v1/models/{model['id']}/importance", json=body)


def test_importance_is_measured_on_the_rows_that_the_job_held_out(
    live: Client, people_model: dict[str, Any]
) -> None:
    answer = measure(live, people_model).json()
    assert answer["metric"] == "accuracy"
    assert answer["num_rows"] == people_model["metrics"]["test"]["num_rows"] == 40
    assert answer["baseline"] == people_model["metrics"]["test"]["metrics"]["accuracy"]
    by_name = {entry["feature"]: entry["mean"] for entry in answer["features"]}
    assert set(by_name) == set(people_model["features"])
    assert list(by_name.values()) == sorted(by_name.values(), reverse=True)
    assert {"age", "city"} == set(list(by_name)[:2])
    assert by_name["age"] > 0.05


def test_importance_is_the_same_whenever_it_is_asked_for(
    live: Client, people_model: dict[str, Any]
) -> None:
    body = {"metric": "log_loss", "num_repeats": 2}
    first, again, other = (
        measure(live, people_model, **body, seed=seed).json() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first["baseline"] == people_model["metrics"]["test"]["metrics"]["log_loss"]


def test_importance_may_be_measured_on_any_dataset(
    live: Client, people: dict[str, Any], people_model: dict[str, Any]
) -> None:
    answer = measure(live, people_model, dataset=people["id"], num_repeats=1).json()
    assert answer["num_rows"] == people["num_rows"]
    response = measure(live, people_model, dataset="ds_0")
    assert "ds_0" in assert_problem(response, 422, "invalid_request", "/dataset")
    misfit = upload(live, b"city,leaves\nOslo,yes\n")["id"]
    response = measure(live, people_model, dataset=misfit)
    assert "'age'" in assert_problem(response, 422, "invalid_request", "/dataset")


@pytest.mark.parametrize(
    ("body", "pointer", "reason"),
    [
        ({"metric": "r2"}, "/metric", "accuracy"),
        ({"num_repeats": 0}, "/num_repeats", "1"),
        ({"seed": -1}, "/seed", "0"),
        ({"rows": 1}, "/rows", "permitted"),
    ],
)
def test_what_cannot_be_measured_is_named(
    live: Client, people_model: dict[str, Any], body: dict[str, Any], pointer: str, reason: str
) -> None:
    response = measure(live, people_model, **body)
    assert reason in assert_problem(response, 422, "invalid_request", pointer)


def test_rows_that_define_no_such_metric_are_refused(
    live: Client, people_model: dict[str, Any]
) -> None:
    head = b"city,age,since,member,leaves\n"
    dataset = upload(live, head + b"Oslo,30,2024-01-02,true,yes\nRome,,2024-01-03,true,yes\n")
    response = measure(live, people_model, dataset=dataset["id"], metric="roc_auc")
    assert "roc_auc" in assert_problem(response, 422, "invalid_request", "/metric")


def test_a_model_whose_job_or_dataset_is_gone_asks_for_a_dataset(live: Client) -> None:
    datasets = [upload(live, tables.flowers(30)) for _ in range(2)]
    jobs = [train(live, d["id"], "label", training={"epochs": 1}) for d in datasets]
    live.delete(f"/v1/datasets/{datasets[0]['id']}")
    live.delete(f"/v1/jobs/{jobs[1]['id']}")
    for job in jobs:
        model = {"id": job["model"]}
        assert_problem(measure(live, model), 409, "held_out_rows_gone", "/dataset")
        assert measure(live, model, dataset=datasets[1]["id"]).status_code == 200


def test_a_dataset_whose_file_went_in_between_is_gone(live: Client, service: Service) -> None:
    dataset = upload(live, tables.flowers(30))["id"]
    model = {"id": train(live, dataset, "label", training={"epochs": 1})["model"]}
    (table,) = (service.data_dir / "artifacts").rglob(f"{dataset}*")
    table.unlink()
    assert_problem(measure(live, model), 409, "held_out_rows_gone", "/dataset")
    response = measure(live, model, dataset=dataset)
    assert dataset in assert_problem(response, 422, "invalid_request", "/dataset")
    response = live.post(f"/v1/models/{model['id']}/evaluate", json={"dataset": dataset})
    assert dataset in assert_problem(response, 422, "invalid_request", "/dataset")
    assert live.delete(f"/v1/datasets/{dataset}").status_code == 204


@pytest.fixture(scope="module")
def difference() -> Predictor:
    """A model of `a - b`."""
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 4, "b": [2.0, 1.0, 4.0, 3.0] * 4})
    frame = frame.with_columns(y=pl.col("a") - pl.col("b"))
    model = MLPConfig(hidden=(), hidden_dropout=0.0)
    experiment = Experiment(frame, target="y", model=model)
    (weight,) = (part for name, part in experiment.model.named_parameters() if "weight" in name)
    weight.data = torch.tensor([[1.0, -1.0]])
    return Predictor(experiment.model, experiment.description)


def importances(predictor: Predictor, frame: pl.DataFrame, **request: Any) -> Importances:
    wish = ImportanceRequest.model_validate(request)
    return importance.measure(predictor, frame, wish, split=None, num_parameters=3)


def test_rows_that_are_too_large_once_shuffled_are_refused(difference: Predictor) -> None:
    # Each row's difference is within float32, and those of different rows are not.
    large = pl.Series([2.2e38, -2.2e38] * 8)
    frame = pl.DataFrame({"a": large, "b": large, "y": [0.0, 1.0] * 8})
    with pytest.raises(RequestError, match="too large") as caught:
        importances(difference, frame)
    assert [flaw.pointer for flaw in caught.value.errors] == ["/dataset"]


def test_rows_are_as_many_as_their_matrix_allows(
    difference: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"a": range(100), "b": range(100), "y": range(100)})
    assert importances(difference, frame, metric="rmse").num_rows == 100
    monkeypatch.setattr(importance, "MAX_CELLS", 2 * 30)
    assert importances(difference, frame, metric="rmse").num_rows == 30


def test_rows_are_fewer_where_scoring_takes_its_time(
    difference: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"a": range(200), "b": range(200), "y": range(200)})
    of_a_row = 3 + 50_000 + 1_000  # parameters, what any row takes, and one output
    monkeypatch.setattr(importance, "_MAX_PRODUCTS", 2 * 5 * 150 * of_a_row)
    assert importances(difference, frame, metric="rmse").num_rows == 150


def test_a_model_that_held_nothing_out_asks_for_a_dataset(
    live: Client, flowers: dict[str, Any]
) -> None:
    split = {"validation": 0, "test": 0}
    job = train(live, flowers["id"], "label", dataset={"split": split}, training={"epochs": 1})
    response = measure(live, {"id": job["model"]})
    assert "held no rows out" in assert_problem(response, 422, "invalid_request", "/dataset")
