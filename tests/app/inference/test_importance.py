"""What an importance is measured on, and what is refused."""

from typing import Any

import httpx
import pytest

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


def test_a_model_that_held_nothing_out_asks_for_a_dataset(
    live: Client, flowers: dict[str, Any]
) -> None:
    split = {"validation": 0, "test": 0}
    job = train(live, flowers["id"], "label", dataset={"split": split}, training={"epochs": 1})
    response = measure(live, {"id": job["model"]})
    assert "held no rows out" in assert_problem(response, 422, "invalid_request", "/dataset")
