"""Predictions at a level: sets of classes and intervals of values."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from app.http.errors import RequestError
from app.inference import service
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Calibration
from tests.support import tables
from tests.support.client import train, upload
from tests.support.problems import assert_problem
from tests.support.served_models import make_model, normal

Client = httpx.Client

TRAINING = {"epochs": 3, "calibrate": True}
SPLIT = {"validation": 0.3, "test": 0.3}
MODEL = {"hidden": [8]}


@pytest.fixture(scope="module")
def outcomes(live: Client) -> str:
    return str(upload(live, tables.outcomes(120))["id"])


def path_of(live: Client, dataset: str, targets: Any, **more: Any) -> str:
    chosen = {"dataset": {"split": SPLIT}, "model": MODEL, "training": {**TRAINING, **more}}
    job = train(live, dataset, targets, **chosen)
    assert job["state"] == "succeeded", job
    return f"/v1/models/{job['model']}"


@pytest.fixture(scope="module")
def classes(live: Client, outcomes: str) -> str:
    return path_of(live, outcomes, "pos")


@pytest.fixture(scope="module")
def values(live: Client, outcomes: str) -> str:
    return path_of(live, outcomes, ["sum", "gap"])


@pytest.fixture(scope="module")
def quantiles(live: Client, outcomes: str) -> str:
    return path_of(live, outcomes, "sum", quantiles=[0.1, 0.5, 0.9])


def predict(client: Client, path: str, instances: list[Any], **options: Any) -> dict[str, Any]:
    response = client.post(f"{path}/predict", json={"instances": instances, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def instances(live: Client, path: str) -> list[Any]:
    features = live.get(path).json()["features"]
    return [dict.fromkeys(features, value) for value in (0.5, -1.0, 2.0)]


def test_a_set_has_the_classes_that_are_likely_enough(live: Client, classes: str) -> None:
    rows = instances(live, classes)
    plain = predict(live, classes, rows)
    assert "sets" not in plain
    answer = predict(live, classes, rows, level=0.8)
    sets = answer.pop("sets")
    assert answer == plain
    for found, probabilities in zip(sets, plain["probabilities"], strict=True):
        inside = [p for c, p in zip(plain["classes"], probabilities, strict=True) if c in found]
        outside = [
            p for c, p in zip(plain["classes"], probabilities, strict=True) if c not in found
        ]
        assert min(inside, default=1) >= max(outside, default=0)
    alone = [predict(live, classes, [row], level=0.8)["sets"][0] for row in rows]
    assert alone == sets
    surer = predict(live, classes, rows, level=0.95)["sets"]
    assert all(set(small) <= set(large) for small, large in zip(sets, surer, strict=True))


def test_intervals_of_several_targets_are_by_name(live: Client, values: str) -> None:
    rows = instances(live, values)
    answer = predict(live, values, rows, level=0.9)
    for prediction, intervals in zip(answer["predictions"], answer["intervals"], strict=True):
        assert list(intervals) == ["sum", "gap"]
        for target, (lower, upper) in intervals.items():
            assert (lower + upper) / 2 == pytest.approx(prediction[target])
    wider = predict(live, values, rows, level=0.95)["intervals"]
    assert wider[0]["sum"][0] < answer["intervals"][0]["sum"][0]


def test_a_model_and_an_evaluation_tell_the_coverage(
    live: Client, classes: str, values: str, outcomes: str
) -> None:
    for path, size in ((classes, "mean_size"), (values, "mean_width")):
        model = live.get(path).json()
        told = model["metrics"]["test"]["conformal"]
        assert [entry["level"] for entry in told] == [0.8, 0.9, 0.95]
        assert all(0 < entry["coverage"] <= 1 and entry[size] > 0 for entry in told)
        assert "conformal" not in model["metrics"]["validation"]
        assert model["calibration"]["num_scores"] == model["metrics"]["validation"]["num_rows"]
        answer = live.post(f"{path}/evaluate", json={"dataset": outcomes}).json()
        assert [entry["level"] for entry in answer["conformal"]] == [0.8, 0.9, 0.95]


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, "0.9", True, [0.9]])
def test_a_level_is_between_0_and_1(live: Client, classes: str, level: Any) -> None:
    response = live.post(f"{classes}/predict", json={"instances": [[]], "level": level})
    assert_problem(response, 422, "invalid_request", "/level")


def test_a_level_that_the_scores_do_not_reach_is_refused(live: Client, classes: str) -> None:
    rows = instances(live, classes)
    response = live.post(f"{classes}/predict", json={"instances": rows, "level": 0.9999})
    reason = assert_problem(response, 422, "invalid_request", "/level")
    assert "needs the scores of 9999 validation rows" in reason


def test_a_model_without_scores_is_refused_with_what_to_do(
    live: Client, flower_model: dict[str, Any]
) -> None:
    path = f"/v1/models/{flower_model['id']}"
    assert flower_model["calibration"] is None
    response = live.post(f"{path}/predict", json={"instances": [[1, 1]], "level": 0.9})
    assert "train it with `calibrate`" in assert_problem(response, 422, "invalid_request", "/level")
    file = {"file": ("rows.csv", b"petal_length,petal_width\n1,1\n")}
    response = live.post(f"{path}/predict-file", files=file, data={"level": "0.9"})
    assert "train it with `calibrate`" in assert_problem(response, 422, "invalid_request", "/level")


def rows_of(response: httpx.Response) -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


def test_a_file_gets_columns_of_sets_or_ends(live: Client, classes: str, values: str) -> None:
    file = {"file": ("rows.csv", tables.outcomes(8))}
    options = {"level": "0.8", "inputs": "false"}
    found = rows_of(live.post(f"{classes}/predict-file", files=file, data=options))
    assert list(found[0]) == ["prediction", "probability_0", "probability_1", "set"]
    assert all(set(json.loads(row["set"])) <= {0, 1} for row in found)
    found = rows_of(live.post(f"{values}/predict-file", files=file, data=options))
    ends = ["lower_sum", "upper_sum", "lower_gap", "upper_gap"]
    assert list(found[0]) == ["prediction_sum", "prediction_gap", *ends]
    assert all(float(row["lower_gap"]) < float(row["upper_gap"]) for row in found)
    for level in ("0", "1", "much"):
        response = live.post(f"{classes}/predict-file", files=file, data={"level": level})
        assert_problem(response, 422, "invalid_request", "/level")


def test_quantiles_are_told_wherever_a_model_answers(
    live: Client, quantiles: str, outcomes: str
) -> None:
    rows = instances(live, quantiles)
    answer = predict(live, quantiles, rows, level=0.8)
    assert answer["quantile_levels"] == live.get(quantiles).json()["quantiles"] == [0.1, 0.5, 0.9]
    assert answer["predictions"] == [row[1] for row in answer["quantiles"]]
    for (lower, _, upper), ends in zip(answer["quantiles"], answer["intervals"], strict=True):
        assert lower - ends[0] == pytest.approx(ends[1] - upper)
    evaluation = live.post(f"{quantiles}/evaluate", json={"dataset": outcomes}).json()
    assert 0 < evaluation["metrics"]["pinball_loss"] < evaluation["metrics"]["mae"]
    measured = live.post(f"{quantiles}/importance", json={"metric": "pinball_loss"}).json()
    assert measured["metric"] == "pinball_loss"
    sampled = predict(live, quantiles, rows, mc_dropout={"samples": 2})["uncertainty"]
    assert [len(row) for row in sampled["mean"]] == [1, 1, 1]

    file = {"file": ("rows.csv", tables.outcomes(8))}
    options = {"level": "0.8", "inputs": "false"}
    found = rows_of(live.post(f"{quantiles}/predict-file", files=file, data=options))
    columns = ["quantile_0.1", "quantile_0.5", "quantile_0.9"]
    assert list(found[0]) == ["prediction", *columns, "lower", "upper"]
    assert all(row["prediction"] == row["quantile_0.5"] for row in found)

    model = quantiles.rpartition("/")[2]
    names = {tensor["name"]: tensor for tensor in live.get(f"/v2/models/{model}").json()["outputs"]}
    assert names["quantiles"]["shape"] == [-1, 3]
    assert names["prediction"]["shape"] == [-1]
    given = [list(row.values()) for row in rows]
    width = len(given[0])
    tensor = {"name": "input", "datatype": "FP64", "shape": [3, width], "data": given}
    told = live.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]}).json()
    of_name = {output["name"]: output["data"] for output in told["outputs"]}
    assert of_name["prediction"] == answer["predictions"]
    assert of_name["quantiles"] == [value for row in answer["quantiles"] for value in row]


def test_sets_that_are_too_long_for_an_answer_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(*make_model(calibration=Calibration(num_scores=99)))
    outputs = predictor.outputs(10 + 3 * normal(4, 5))
    conformal = predictor.conformal(0.99)
    told = service._conformal(predictor, outputs, conformal)["sets"]
    characters = sum(len(value) for found in told for value in found)
    monkeypatch.setattr(service, "MAX_SET_CHARACTERS", characters)
    service._conformal(predictor, outputs, conformal)
    monkeypatch.setattr(service, "MAX_SET_CHARACTERS", characters - 1)
    with pytest.raises(RequestError, match=f"the sets have {characters} characters"):
        service._conformal(predictor, outputs, conformal)
