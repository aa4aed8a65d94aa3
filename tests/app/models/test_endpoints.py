from pathlib import Path
from typing import Any

import httpx

from app.models.schemas import CategoricalInput
from dropout_core.data.categories import CategoricalFeature
from dropout_core.model.saved_model import WEIGHTS
from tests.support.client import train
from tests.support.problems import assert_problem
from tests.support.service import Service

Client = httpx.Client


def test_a_model_says_what_it_is(flower_model: dict[str, Any], flower_job: dict[str, Any]) -> None:
    model, config = flower_model, flower_job["resolved_config"]
    assert model["job"] == flower_job["id"]
    assert model["name"] == "flowers"
    assert (model["task"], model["target"]) == ("multiclass", "label")
    assert model["features"] == ["petal_length", "petal_width"]
    assert model["classes"] == ["setosa", "versicolor", "virginica"]
    assert model["config"] == config["model"]
    assert model["num_parameters"] == (2 * 16 + 16) + (16 * 16 + 16) + (16 * 3 + 3)
    assert len(model["weights_sha256"]) == 64
    assert model["fingerprint"].startswith(("cpu/", "cuda/"))


def test_a_model_knows_how_it_scored_on_rows_held_out(flower_model: dict[str, Any]) -> None:
    assert set(flower_model["metrics"]) == {"validation", "test"}
    test = flower_model["metrics"]["test"]
    assert test["num_rows"] == 9
    assert sum(map(sum, test["confusion_matrix"])) == 9
    right = sum(row[place] for place, row in enumerate(test["confusion_matrix"]))
    assert test["metrics"]["accuracy"] == right / 9


def test_a_model_says_what_it_makes_of_each_feature(people_model: dict[str, Any]) -> None:
    inputs = {feature["name"]: feature for feature in people_model["inputs"]}
    assert list(inputs) == people_model["features"] == ["city", "age", "since", "member"]
    assert inputs["city"]["categories"] == ["Bonn", "Oslo", "Rome"]
    assert inputs["city"]["num_categories"] == 3
    assert inputs["age"]["may_be_missing"]
    assert inputs["since"]["type"] == "datetime"
    assert people_model["preprocessing"]["scale"] == "standard"


def test_an_answer_has_the_first_of_many_categories() -> None:
    names = tuple(f"{n:03}" for n in range(25))
    feature = CategoricalFeature(name="city", stored_as="text", categories=names)
    answer = CategoricalInput.of(feature)
    assert (answer.num_categories, answer.categories) == (25, list(names[:20]))


def test_a_model_knows_how_its_folds_scored(people_model: dict[str, Any]) -> None:
    assert set(people_model["metrics"]) == {"validation", "test"}
    folds = people_model["cross_validation"]["folds"]
    assert people_model["cross_validation"]["num_folds"] == len(folds) == 2
    assert [fold["num_rows"] for fold in folds] == [80, 80]
    scores = [fold["metrics"]["accuracy"] for fold in folds]
    assert people_model["cross_validation"]["mean"]["accuracy"] == sum(scores) / 2


def test_a_list_holds_every_model_newest_first(live: Client, flower_model: dict[str, Any]) -> None:
    page = live.get("/v1/models", params={"limit": 100}).json()
    ids = [model["id"] for model in page["data"]]
    assert flower_model in page["data"]
    assert ids == sorted(ids, reverse=True)
    assert page["last_id"] == ids[-1]


def test_the_same_job_gives_the_same_weights(
    live: Client, flower_model: dict[str, Any], flower_job: dict[str, Any]
) -> None:
    config = dict(flower_job["resolved_config"])
    dataset = config.pop("dataset")
    again = train(live, dataset["id"], dataset["target"], dataset=dataset, **config)
    model = live.get(f"/v1/models/{again['model']}").json()
    assert model["id"] != flower_model["id"]
    assert model["weights_sha256"] == flower_model["weights_sha256"]
    assert model["metrics"] == flower_model["metrics"]


def test_a_deleted_model_is_gone_with_its_files(
    live: Client, service: Service, flowers: dict[str, Any]
) -> None:
    before = artifacts(service.data_dir)
    job = train(live, flowers["id"], "label", training={"epochs": 1})
    assert artifacts(service.data_dir) > before
    path = f"/v1/models/{job['model']}"
    rows = {"instances": [[1.0, 2.0]]}
    assert live.post(f"{path}/predict", json=rows).status_code == 200
    response = live.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    assert_problem(live.get(path), 404, "model_not_found")
    assert_problem(live.delete(path), 404, "model_not_found")
    assert_problem(live.post(f"{path}/predict", json=rows), 404, "model_not_found")
    assert artifacts(service.data_dir) == before
    assert live.get(f"/v1/jobs/{job['id']}").json()["model"] is None


def test_a_model_whose_files_went_in_between_is_not_found(
    live: Client, service: Service, flowers: dict[str, Any]
) -> None:
    job = train(live, flowers["id"], "label", training={"epochs": 1})
    path = f"/v1/models/{job['model']}"
    files = artifacts(service.data_dir)
    (weights,) = (file for file in files if job["id"] in file.parts and file.name == WEIGHTS)
    weights.unlink()
    rows = {"instances": [[1.0, 2.0]]}
    detail = assert_problem(live.post(f"{path}/predict", json=rows), 404, "model_not_found")
    assert job["model"] in detail
    assert live.delete(path).status_code == 204


def artifacts(data_dir: Path) -> set[Path]:
    return {path for path in (data_dir / "artifacts").rglob("*") if path.is_file()}
