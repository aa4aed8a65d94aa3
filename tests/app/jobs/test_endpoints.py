from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig, settled
from store import jobs
from store.database.engine import Database
from store.job_spec import JobSpec
from tests.support import tables
from tests.support.client import events, finished, submit, train, upload, wait_for_event
from tests.support.problems import assert_problem, stored
from tests.support.service import SETTINGS, Service

Client = httpx.Client

ENDLESS = {"epochs": 100_000, "batch_size": 1}

# What is changed in a job that could be run, where the answer points, and what it says.
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": ({"color": 1}, "/color", "permitted"),
    "unknown field within": ({"model": {"width": 1}}, "/model/width", "permitted"),
    "p above 1": ({"model": {"input_dropout": 1.5}}, "/model/input_dropout", "less than"),
    "p below 0": ({"model": {"hidden_dropout": {"p": -0.1}}}, "/model/hidden_dropout/p", "greater"),
    "p of a layer": ({"model": {"hidden_dropout": [0, 2]}}, "/model/hidden_dropout/1", "less than"),
    "p and keep": ({"model": {"input_dropout": {"p": 0.1, "keep": 0.9}}}, "", "exactly one"),
    "no p, no keep": ({"model": {"hidden_dropout": [{}, 0.1]}}, "/model/hidden_dropout/0", "one"),
    "text for p": ({"model": {"input_dropout": "half"}}, "/model/input_dropout", ""),
    "one dropout short": ({"model": {"hidden_dropout": [0.1]}}, "/model/hidden_dropout", "1 drop"),
    "no width": ({"model": {"hidden": [8, 0]}}, "/model/hidden/1", "greater"),
    "negative width": ({"model": {"hidden": [-8, 8]}}, "/model/hidden/0", "greater"),
    "half a width": ({"model": {"hidden": [0.5]}}, "/model/hidden/0", "integer"),
    "no epochs": ({"training": {"epochs": 0}}, "/training/epochs", "greater"),
    "no optimizer": ({"training": {"optimizer": {"name": "x"}}}, "/training/optimizer", "adam"),
    "nesterov alone": (
        {"training": {"optimizer": {"name": "sgd", "nesterov": True}}},
        *("/training/optimizer", "momentum"),
    ),
    "another optimizer's field": (
        {"training": {"optimizer": {"name": "adam", "momentum": 0.9}}},
        *("/training/optimizer/momentum", "permitted"),
    ),
    "scheduler without its name": (
        {"training": {"scheduler": {"step_size": 1}}},
        *("/training/scheduler", "name"),
    ),
    "scheduler without its step": (
        {"training": {"scheduler": {"name": "step"}}},
        *("/training/scheduler/step_size", "required"),
    ),
    "seed past every parser": ({"training": {"seed": 2**53}}, "/training/seed", "less than"),
    "stopping without validation": (
        {
            "training": {"early_stopping": {"patience": 3}},
            "dataset": {"split": {"validation": 0}},
        },
        *("/training/early_stopping", "validation rows"),
    ),
    "batch norm of single rows": (
        {"model": {"batch_norm": True}, "training": {"batch_size": 1}},
        *("/model/batch_norm", "2 rows"),
    ),
    "weights of a third class": (
        {"training": {"class_weights": [1, 2, 3]}},
        *("/training/class_weights", "3 weights for 2 classes"),
    ),
    "weights of nothing": (
        {"training": {"class_weights": [0, 0]}},
        *("/training/class_weights", "all weights are 0"),
    ),
    "a rate beyond 32 bits": (
        {"training": {"optimizer": {"name": "sgd", "lr": 1e39}}},
        *("/training/optimizer/lr", "more than 3.4e+38"),
    ),
    "a metric of another task": (
        {"training": {"early_stopping": {"monitor": "r2"}}},
        *("/training/early_stopping/monitor", "a binary task can monitor"),
    ),
    "a goal of another task": (
        {"optimise_for": "rmse"},
        *("/optimise_for", "a binary task can be optimised for accuracy, log_loss, roc_auc"),
    ),
    "no such goal": ({"optimise_for": "speed"}, "/optimise_for", "accuracy"),
    "no such preset": ({"preset": "worst"}, "/preset", "default"),
    "a value that the preset's does not go with": (
        {"preset": "fast", "model": {"hidden_dropout": {"p": 0.1, "scaling": "classic"}}},
        *("/training/dropout_schedule", "(it has the value of the preset fast)"),
    ),
    "weights by an unknown name": (
        {"training": {"class_weights": "fair"}},
        *("/training/class_weights", "balanced"),
    ),
    "a negative weight": (
        {"training": {"class_weights": [1, -1]}},
        "/training/class_weights/1",
        "0",
    ),
    "weights of no classes": (
        {"task": "regression", "training": {"class_weights": "balanced"}},
        *("/training/class_weights", "no classes"),
    ),
    "smoothing of no classes": (
        {"task": "regression", "training": {"label_smoothing": 0.1}},
        *("/training/label_smoothing", "no classes"),
    ),
    "rounded products of another kind": (
        {"model": {"activation": "gelu"}, "training": {"precision": "bfloat16"}},
        *("/training/precision", "relu"),
    ),
    "no such dataset": ({"dataset": {"id": "ds_0"}}, "/dataset/id", "ds_0"),
    "no such target": ({"dataset": {"target": "size"}}, "/dataset/target", "'size'"),
    "no such feature": ({"dataset": {"features": ["size"]}}, "/dataset/features", "'size'"),
    "weights of labels": (
        {"dataset": {"target": ["y", "flag"]}, "training": {"class_weights": "balanced"}},
        *("/training/class_weights", "labels"),
    ),
    "numbers of words": (
        {"dataset": {"types": {"word": "numeric"}}},
        *("/dataset/types/word", "none of its values is a number"),
    ),
    "no such type": ({"dataset": {"types": {"x": "date"}}}, "/dataset/types/x", "numeric"),
    "type of no column": ({"dataset": {"types": {"a/b": "text"}}}, "/dataset/types/a~1b", "'a/b'"),
    "weights of words": ({"dataset": {"weight": "word"}}, "/dataset/weight", "number"),
    "weights with gaps": ({"dataset": {"weight": "gaps"}}, "/dataset/weight", "missing"),
    "words and numbers": ({"dataset": {"target": ["y", "word"]}}, "/dataset/target", "several"),
    "no target": ({"dataset": {"target": []}}, "/dataset/target", "at least 1"),
    "groups of no column": (
        {"dataset": {"split": {"kind": "grouped", "column": "nobody"}}},
        *("/dataset/split", "'nobody'"),
    ),
    "groups without a column": (
        {"dataset": {"split": {"kind": "grouped"}}},
        *("/dataset/split", "`column`"),
    ),
    "too few groups": (
        {"dataset": {"split": {"kind": "grouped", "column": "word"}}},
        *("/dataset/split", "2 groups"),
    ),
    "time of words": (
        {"dataset": {"split": {"kind": "time", "column": "word"}}},
        *("/dataset/split", "date"),
    ),
    "parts of other words": (
        {"dataset": {"split": {"kind": "column", "column": "word"}}},
        *("/dataset/split", "'a'"),
    ),
    "too few rows for the folds": (
        {"dataset": {"split": {"kind": "stratified", "folds": 20}}},
        *("/dataset/split", "20"),
    ),
    "no such scaling": ({"preprocessing": {"scale": "log"}}, "/preprocessing/scale", "standard"),
    "feature twice": ({"dataset": {"features": ["x", "x"]}}, "/dataset/features", "twice"),
    "target as feature": ({"dataset": {"features": ["y"]}}, "/dataset/features", "target"),
    "no features": ({"dataset": {"features": []}}, "/dataset/features", "at least 1"),
    "target of one value": ({"dataset": {"target": "one"}}, "/dataset/target", "1 distinct"),
    "numbers from words": (
        {"task": "regression", "dataset": {"target": "word"}},
        *("/dataset/target", "numeric"),
    ),
    "two classes of many": (
        {"task": "binary", "dataset": {"target": "x"}},
        *("/dataset/target", "2 classes"),
    ),
    "nothing left to train on": (
        {"dataset": {"split": {"validation": 0.5, "test": 0.5}}},
        *("/dataset/split", "no rows"),
    ),
    "too few rows for the split": (
        {"dataset": {"split": {"validation": 0.98, "test": 0.01}}},
        *("/dataset/split", "too few"),
    ),
    "too much metadata": ({"metadata": {str(n): "" for n in range(17)}}, "/metadata", "16"),
    "name too long": ({"name": "n" * 201}, "/name", "200"),
}


@pytest.fixture(scope="package")
def table(live: Client) -> str:
    """The id of a dataset with a column of every kind."""
    lines = ["x,y,word,gaps,one,flag"]
    lines += [f"{n},{n % 2},{'ab'[n % 2]},{n if n else ''},1,{n < 9!s}".lower() for n in range(20)]
    return upload(live, "\n".join(lines).encode())["id"]


@pytest.fixture
def dataset_id(client: Client) -> str:
    return upload(client, tables.flowers())["id"]


def job_on(dataset_id: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """A job that could be run, changed two levels deep."""
    job: dict[str, Any] = {
        "dataset": {"id": dataset_id, "target": "y"},
        "model": {"hidden": [8, 8]},
    }
    for name, value in (change or {}).items():
        job[name] = job.get(name, {}) | value if isinstance(value, dict) else value
    return job


def test_a_submitted_job_is_accepted_as_a_whole(client: Client, dataset_id: str) -> None:
    job = {"name": "first", "metadata": {"team": "garden"}}
    body = job | {"dataset": {"id": dataset_id, "target": "label"}}
    response = client.post("/v1/jobs", json=body)
    answer = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/jobs/{answer['id']}"
    assert client.get(response.headers["location"]).json() == answer
    assert answer["state"] == "queued"
    assert answer["dataset"] == dataset_id
    assert answer["progress"] == {
        "step": None,
        "epochs_completed": 0,
        "epochs": answer["resolved_config"]["training"]["epochs"],
    }
    assert {name: answer[name] for name in job} == job
    assert answer["created_at"].endswith("Z")
    assert answer["started_at"] is answer["finished_at"] is answer["model"] is None


def test_the_resolved_config_says_what_was_chosen(client: Client, dataset_id: str) -> None:
    config = submit(client, dataset_id, "label", model={"hidden_dropout": 0.3})["resolved_config"]
    assert config["task"] == "multiclass"
    assert config["dataset"]["features"] == ["petal_length", "petal_width"]
    assert config["dataset"]["types"] == dict.fromkeys(config["dataset"]["features"], "numeric")
    assert config["model"]["hidden"] == [256, 256]
    assert [dropout["p"] for dropout in config["model"]["hidden_dropout"]] == [0.3, 0.3]
    assert config["training"]["optimizer"]["name"] == "adam"


def test_a_job_settles_every_type_and_says_what_it_left_out(live: Client, table: str) -> None:
    changes = {"target": ["y", "flag"], "weight": "x", "types": {"gaps": "categorical"}}
    body = job_on(table, {"dataset": changes, "preprocessing": {"max_one_hot": 2}})
    answer = live.post("/v1/jobs", params={"validate_only": True}, json=body).json()
    dataset = answer["resolved_config"]["dataset"]
    assert answer["resolved_config"]["task"] == "multilabel"
    assert (dataset["target"], dataset["weight"]) == (["y", "flag"], "x")
    assert dataset["features"] == ["word", "gaps"]
    assert dataset["types"] == {"word": "categorical", "gaps": "categorical"}
    [warning] = answer["warnings"]
    assert "'one'" in warning
    # Two categories and the unknown one are inputs each; 20 of them are embedded.
    width = round(1.6 * 20**0.56)
    layers = [(3 + width + 1) * 8, (8 + 1) * 8, (8 + 1) * 2]
    assert answer["num_parameters"] == 20 * width + sum(layers)


def test_rows_without_a_target_are_left_out_with_a_warning(live: Client, table: str) -> None:
    body = job_on(table, {"dataset": {"target": "gaps"}})
    answer = live.post("/v1/jobs", params={"validate_only": True}, json=body).json()
    assert any("1 row is left out" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(("target", "kind"), [("word", "stratified"), ("x", "random")])
def test_the_default_split_and_monitor_are_resolved(
    live: Client, table: str, target: str, kind: str
) -> None:
    def resolved(**split: str) -> Any:
        body = job_on(table, {"training": {"early_stopping": {}}})
        # The numbers of x would be classes.
        body["task"] = "regression" if kind == "random" else "auto"
        body["dataset"] = {"id": table, "target": target, "split": split}
        answer = live.post("/v1/jobs", params={"validate_only": True}, json=body).json()
        return answer["resolved_config"]

    config = resolved()
    assert config["dataset"]["split"]["kind"] == kind
    assert config["training"]["early_stopping"]["monitor"] == "loss"
    assert resolved(kind="random")["dataset"]["split"]["kind"] == "random"


@pytest.mark.parametrize(
    "job",
    [
        {"model": {"input_dropout": {"keep": 0.8}}},
        {},
        {"preset": "fast", "optimise_for": "accuracy", "model": {"parametric_activation": False}},
        {"preset": "best", "dataset": {"split": {"validation": 0}}},
    ],
    ids=["plain", "default", "fast", "best"],
)
def test_a_resolved_config_resolves_to_itself(
    client: Client, dataset_id: str, job: dict[str, Any]
) -> None:
    types = {"petal_width": "categorical", "label": "categorical"}
    dataset = {"types": types, **job.get("dataset", {})}
    config = submit(client, dataset_id, "label", **{**job, "dataset": dataset})
    again = client.post("/v1/jobs", json=config["resolved_config"]).json()
    assert again["resolved_config"] == config["resolved_config"]
    assert again["id"] != config["id"]


def test_the_resolved_config_has_a_value_for_every_field(client: Client, dataset_id: str) -> None:
    for job in ({}, {"preset": "plain"}):
        config = submit(client, dataset_id, "label", **job)["resolved_config"]
        for name, section in (("model", MLPConfig), ("training", TrainingConfig)):
            assert list(config[name]) == list(section.model_fields)
        assert list(config["preprocessing"]) == list(PreprocessingConfig.model_fields)
        assert list(config) == list(JobSpec.model_fields)
        assert config["preset"] == job.get("preset", "default")


def test_a_job_of_a_table_and_a_target_gets_the_default(client: Client, dataset_id: str) -> None:
    config = submit(client, dataset_id, "label", training={"seed": 3})["resolved_config"]
    recipe = settled("default", task="multiclass", num_rows=72, num_columns=2)
    assert config["model"] == recipe.model.every_value()
    assert config["preprocessing"] == recipe.preprocessing.every_value()
    training = recipe.training.model_copy(update={"seed": 3})
    assert config["training"] == training.every_value()


def test_validate_only_answers_the_size_and_stores_nothing(
    client: Client, dataset_id: str, tmp_path: Path
) -> None:
    before = stored(client, tmp_path)
    body = {"dataset": {"id": dataset_id, "target": "label"}, "model": {"hidden": [8]}}
    response = client.post("/v1/jobs", params={"validate_only": True}, json=body)
    assert response.status_code == 200
    assert response.json()["num_parameters"] == (2 * 8 + 8) + (8 * 3 + 3)
    assert response.json()["estimated_bytes"] > 0
    assert "location" not in response.headers
    assert stored(client, tmp_path) == before
    accepted = client.post("/v1/jobs", json=body).json()
    assert accepted["resolved_config"] == response.json()["resolved_config"]


@pytest.mark.parametrize("flaw", IMPOSSIBLE)
@pytest.mark.parametrize("validate_only", [False, True], ids=["submitted", "validated"])
def test_an_impossible_job_is_refused_where_it_is_impossible(
    live: Client, service: Service, table: str, flaw: str, validate_only: bool
) -> None:
    change, pointer, reason = IMPOSSIBLE[flaw]
    before = stored(live, service.data_dir)
    response = live.post(
        "/v1/jobs", params={"validate_only": validate_only}, json=job_on(table, change)
    )
    where = pointer or "/model/input_dropout"
    assert reason in assert_problem(response, 422, "invalid_request", where)
    assert stored(live, service.data_dir) == before


def test_every_flaw_is_named_at_once(live: Client, table: str) -> None:
    body = job_on(table, {"model": {"hidden": [0]}, "training": {"epochs": "x", "batch_size": 0}})
    flaws = live.post("/v1/jobs", json=body).json()["errors"]
    assert {flaw["pointer"] for flaw in flaws} == {
        "/model/hidden/0",
        "/training/epochs",
        "/training/batch_size",
    }


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused(live: Client, table: str, literal: str) -> None:
    body = f'{{"dataset": {{"id": "{table}", "target": "y"}}, "model": {{"max_norm": {literal}}}}}'
    headers = {"Content-Type": "application/json"}
    response = live.post("/v1/jobs", content=body, headers=headers)
    assert_problem(response, 422, "invalid_request", "/model/max_norm")


def test_a_model_over_the_memory_limit_is_refused_with_the_estimate(
    live: Client, table: str
) -> None:
    body = job_on(table, {"model": {"hidden": [4096, 4096]}})
    detail = assert_problem(live.post("/v1/jobs", json=body), 422, None, "/model/hidden")
    numbers = [int(word.strip(",:")) for word in detail.split() if word.strip(",:").isdecimal()]
    limit = SETTINGS["max_training_bytes"]
    assert limit in numbers
    assert max(numbers) > max(limit, 4 * 4096 * 4096)


def test_a_device_is_refused_exactly_where_it_is_not(live: Client, table: str) -> None:
    body = job_on(table, {"training": {"device": "cuda"}})
    response = live.post("/v1/jobs", params={"validate_only": True}, json=body)
    if torch.cuda.is_available():
        assert response.status_code == 200
    else:
        assert "CUDA" in assert_problem(response, 422, "invalid_request", "/training/device")


def test_jobs_train_while_they_are_watched(live: Client, flower_job: dict[str, Any]) -> None:
    assert flower_job["state"] == "succeeded"
    assert flower_job["state_reason"] == "completed"
    assert flower_job["progress"] == {"step": None, "epochs_completed": 12, "epochs": 12}
    assert flower_job["attempt"] == 1
    assert flower_job["created_at"] <= flower_job["started_at"] <= flower_job["finished_at"]
    assert live.get(f"/v1/models/{flower_job['model']}").json()["job"] == flower_job["id"]


def test_metrics_are_columns_of_one_length(live: Client, flower_job: dict[str, Any]) -> None:
    metrics = live.get(f"/v1/jobs/{flower_job['id']}/metrics").json()
    assert metrics["epoch"] == list(range(1, 13))
    assert {len(column) for column in metrics.values()} == {12}
    assert metrics["train_loss"][-1] < metrics["train_loss"][0]
    assert metrics["validation_score"][-1] > 0.5
    assert set(metrics["learning_rate"]) == {0.02}
    assert min(metrics["samples_per_second"]) > 0


def test_metrics_go_on_after_an_epoch(live: Client, flower_job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{flower_job['id']}/metrics"
    whole = live.get(path).json()
    rest = live.get(path, params={"after_epoch": 9}).json()
    assert rest == {name: column[9:] for name, column in whole.items()}
    assert live.get(path, params={"after_epoch": 12}).json()["epoch"] == []


def test_a_job_without_validation_rows_has_no_validation_metrics(
    live: Client, flowers: dict[str, Any]
) -> None:
    split = {"validation": 0, "test": 0}
    training = {"epochs": 2}
    job = train(live, flowers["id"], "label", dataset={"split": split}, training=training)
    assert job["state"] == "succeeded"
    metrics = live.get(f"/v1/jobs/{job['id']}/metrics").json()
    assert metrics["validation_loss"] == metrics["validation_score"] == [None, None]
    assert live.get(f"/v1/models/{job['model']}").json()["metrics"] == {}


@pytest.mark.parametrize(
    "dropout",
    [
        {"keep": 0.8, "scaling": "classic"},
        {"kind": "gaussian", "p": 0.2},
        {"kind": "batchwise", "p": 0.2, "group_size": 8},
        {"kind": "dropconnect", "p": 0.2, "masks": "per_batch"},
    ],
    ids=lambda dropout: dropout.get("kind", "classic"),
)
def test_every_dropout_can_be_asked_for(
    live: Client, flowers: dict[str, Any], dropout: dict[str, Any]
) -> None:
    model = {"hidden": [16, 16], "activation": "maxout", "hidden_dropout": dropout}
    job = train(live, flowers["id"], "label", model=model, training={"epochs": 2})
    assert job["state"] == "succeeded"
    assert (
        job["resolved_config"]["model"]["hidden_dropout"]
        == [{"kind": "bernoulli", "scaling": "inverted", **dropout}] * 2
    )


def test_a_job_that_diverges_fails_and_names_the_epoch(live: Client) -> None:
    dataset = upload(live, tables.waves())
    optimizer = {"name": "sgd", "lr": 1e30}
    job = train(live, dataset["id"], "y", training={"epochs": 50, "optimizer": optimizer})
    assert (job["state"], job["state_reason"]) == ("failed", "diverged")
    assert job["model"] is None
    assert f"epoch {job['progress']['epochs_completed'] + 1}" in job["detail"]


def test_a_job_stops_at_its_time_and_keeps_its_model(live: Client, flowers: dict[str, Any]) -> None:
    training = ENDLESS | {"max_runtime_seconds": 2}
    job = train(live, flowers["id"], "label", training=training)
    assert (job["state"], job["state_reason"]) == ("succeeded", "max_runtime_exceeded")
    assert job["model"]


def test_a_job_that_no_longer_improves_stops_early(live: Client, flowers: dict[str, Any]) -> None:
    stopping = {"patience": 1, "min_delta": 1000.0}
    job = train(live, flowers["id"], "label", training={"epochs": 50, "early_stopping": stopping})
    assert (job["state"], job["state_reason"]) == ("succeeded", "early_stopped")
    assert job["progress"]["epochs_completed"] < 50


def test_a_running_job_is_cancelled_once_and_for_all(live: Client, flowers: dict[str, Any]) -> None:
    job_id = submit(live, flowers["id"], "label", training=ENDLESS)["id"]
    wait_for_event(live, job_id, "epoch")
    assert live.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert live.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    job = finished(live, job_id)
    assert (job["state"], job["state_reason"]) == ("cancelled", "cancelled_by_user")
    kinds = [event["event"] for event in events(live, job_id)]
    assert kinds[-2:] == ["cancelling", "cancelled"]
    assert live.post(f"/v1/jobs/{job_id}/cancel").json() == job


def test_a_cancelled_job_keeps_its_model_if_it_is_asked_to(
    live: Client, flowers: dict[str, Any]
) -> None:
    job_id = submit(live, flowers["id"], "label", name="kept", training={"epochs": 100_000})["id"]
    wait_for_event(live, job_id, "epoch")
    answer = live.post(f"/v1/jobs/{job_id}/cancel", json={"keep_model": True})
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    job = finished(live, job_id)
    assert (job["state"], job["state_reason"]) == ("cancelled", "cancelled_by_user")
    model = live.get("/v1/models/kept@1").json()
    assert (model["id"], model["job"]) == (job["model"], job_id)
    asked = {"instances": [[4.9, 1.6]]}
    assert live.post("/v1/models/kept/predict", json=asked).status_code == 200
    assert live.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert live.delete(f"/v1/models/{model['id']}").status_code == 204


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"keep_model": 1}', 422, "invalid_request"),
        (b'{"keep": true}', 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"keep_model=true", 400, "malformed_json"),
    ],
)
def test_a_cancel_that_cannot_be_meant_stops_nothing(
    client: Client, dataset_id: str, body: bytes, status: int, code: str
) -> None:
    job_id = submit(client, dataset_id, "label")["id"]
    assert_problem(client.post(f"/v1/jobs/{job_id}/cancel", content=body), status, code)
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"


def test_a_queued_job_is_cancelled_at_once(client: Client, dataset_id: str) -> None:
    job_id = submit(client, dataset_id, "label")["id"]
    response = client.post(f"/v1/jobs/{job_id}/cancel")
    assert response.status_code == 202
    assert response.json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job_id}/cancel").json() == response.json()
    assert client.get(f"/v1/jobs/{job_id}").json() == response.json()


def test_a_job_that_is_over_cannot_be_cancelled(live: Client, flower_job: dict[str, Any]) -> None:
    response = live.post(f"/v1/jobs/{flower_job['id']}/cancel")
    assert "succeeded" in assert_problem(response, 409, "illegal_transition")
    assert live.get(f"/v1/jobs/{flower_job['id']}").json() == flower_job


def test_a_deleted_job_leaves_its_model(live: Client, flowers: dict[str, Any]) -> None:
    job = train(live, flowers["id"], "label", training={"epochs": 1})
    path = f"/v1/jobs/{job['id']}"
    assert live.delete(path).status_code == 204
    for gone in (path, f"{path}/metrics", f"{path}/events"):
        assert_problem(live.get(gone), 404, "job_not_found")
    assert_problem(live.delete(path), 404, "job_not_found")
    answer = live.post(f"/v1/models/{job['model']}/predict", json={"instances": [[1.0, 2.0]]})
    assert len(answer.json()["predictions"]) == 1


def test_a_job_that_is_not_over_cannot_be_deleted(client: Client, dataset_id: str) -> None:
    job = submit(client, dataset_id, "label")
    assert "queued" in assert_problem(
        client.delete(f"/v1/jobs/{job['id']}"), 409, "illegal_transition"
    )
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


def test_a_list_shows_every_job_once_newest_first(client: Client, dataset_id: str) -> None:
    ids = [submit(client, dataset_id, "label")["id"] for _ in range(5)]
    found, after = [], None
    for more in (True, True, False):
        params = {"limit": 2} | ({} if after is None else {"after": after})
        page = client.get("/v1/jobs", params=params).json()
        found += [job["id"] for job in page["data"]]
        after = page["last_id"]
        assert page["has_more"] is more
    assert found == sorted(ids, reverse=True)


def test_a_list_may_be_of_one_state(client: Client, dataset_id: str, database_url: str) -> None:
    queued, cancelled, running = (submit(client, dataset_id, "label")["id"] for _ in range(3))
    client.post(f"/v1/jobs/{cancelled}/cancel")
    with closing(Database(database_url)) as database, database.write() as transaction:
        options = {"lease_seconds": 60, "num_threads": 1, "max_attempts": 1}
        jobs.claim(transaction, running, owner="me", **options)
    for state, job_id in {"queued": queued, "cancelled": cancelled, "running": running}.items():
        page = client.get("/v1/jobs", params={"state": state}).json()
        assert [(job["id"], job["state"]) for job in page["data"]] == [(job_id, state)]
    assert client.get("/v1/jobs", params={"state": "failed"}).json()["data"] == []


def test_categories_that_are_too_many_to_keep_are_told(
    live: httpx.Client, people: dict[str, Any]
) -> None:
    job = {
        "dataset": {"id": people["id"], "target": "leaves", "features": ["city"]},
        "preprocessing": {"max_categories": 2},
    }
    answer = live.post("/v1/jobs?validate_only=true", json=job).json()
    assert any("'city': the 2 most frequent of 3" in warning for warning in answer["warnings"])
    job["preprocessing"] = {"min_frequency": 1_000_000}
    answer = live.post("/v1/jobs?validate_only=true", json=job).json()
    expected = "'city': 3 of 3 categories have fewer than 1000000 rows and count as unknown"
    assert any(expected in warning for warning in answer["warnings"])


def test_a_table_without_numbers_has_none_to_embed(
    live: httpx.Client, people: dict[str, Any]
) -> None:
    job = {
        "dataset": {"id": people["id"], "target": "leaves", "features": ["city"]},
        "preprocessing": {"number_embedding": {"kind": "periodic"}},
    }
    answer = live.post("/v1/jobs?validate_only=true", json=job)
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        [
            {
                "pointer": "/preprocessing/number_embedding",
                "detail": "the table has no numbers to embed",
            }
        ],
    )
