"""What a request for predictions may ask for, beside its rows."""

import math
from typing import Any

import httpx
import pytest

from tests.support.problems import assert_problem

Client = httpx.Client

ROWS = [[1.0, 0.5], [5.1, 1.9], [3.0, 1.1]]


@pytest.fixture
def path(flower_model: dict[str, Any]) -> str:
    return f"/v1/models/{flower_model['id']}/predict"


def predict(client: Client, path: str, instances: list[Any], **options: Any) -> dict[str, Any]:
    response = client.post(path, json={"instances": instances, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_rows_mean_the_same_as_numbers_as_text_and_by_name(live: Client, path: str) -> None:
    numbers = predict(live, path, ROWS)
    for written in (
        [[str(cell) for cell in row] for row in ROWS],
        [{"petal_width": width, "petal_length": length} for length, width in ROWS],
    ):
        assert predict(live, path, written) == numbers


def test_a_model_goes_by_its_name_too(
    live: Client, path: str, flower_model: dict[str, Any]
) -> None:
    name = flower_model["name"]
    by_version = f"/v1/models/{name}@{flower_model['version']}/predict"
    assert predict(live, by_version, ROWS) == predict(live, path, ROWS)
    unknown = live.post(f"/v1/models/{name}@999/predict", json={"instances": ROWS})
    assert f"{name}@999" in assert_problem(unknown, 404, "model_not_found")


def test_what_is_missing_is_imputed_where_that_is_asked_for(live: Client, path: str) -> None:
    holes = [[1.0, None], {"petal_length": 1.0}]
    refused = live.post(path, json={"instances": holes})
    assert_problem(refused, 422, "invalid_request", "/instances/0/1")
    imputed = predict(live, path, holes, missing="impute")
    assert imputed["probabilities"][0] == imputed["probabilities"][1]
    unknown = live.post(path, json={"instances": holes, "missing": "guess"})
    assert_problem(unknown, 422, "invalid_request", "/missing")


def test_uncertainty_is_of_the_row_and_the_seed_alone(live: Client, path: str) -> None:
    plain = predict(live, path, ROWS)
    assert "uncertainty" not in plain
    sampling = {"samples": 20, "seed": 4}
    together = predict(live, path, ROWS, mc_dropout=sampling)
    uncertainty = together.pop("uncertainty")
    assert together == plain  # which stays deterministic
    for index, row in enumerate(ROWS):
        alone = predict(live, path, [row], mc_dropout=sampling)["uncertainty"]
        assert alone == {name: [values[index]] for name, values in uncertainty.items()}
    assert uncertainty != predict(live, path, ROWS, mc_dropout={"samples": 20})["uncertainty"]
    assert all(sum(row) == pytest.approx(1) for row in uncertainty["mean"])
    assert any(value > 0 for row in uncertainty["standard_deviation"] for value in row)
    for entropy, information in zip(
        uncertainty["entropy"], uncertainty["mutual_information"], strict=True
    ):
        assert 0 <= information <= entropy <= math.log(3) + 1e-12


@pytest.mark.parametrize(
    ("sampling", "pointer"),
    [
        ({"samples": 1}, "/mc_dropout/samples"),
        ({"samples": 1001}, "/mc_dropout/samples"),
        ({"seed": -1}, "/mc_dropout/seed"),
        ({"temperature": 1}, "/mc_dropout/temperature"),
    ],
    ids=["one sample", "too many samples", "negative seed", "unknown field"],
)
def test_a_sampling_that_cannot_be_is_refused(
    live: Client, path: str, sampling: dict[str, Any], pointer: str
) -> None:
    response = live.post(path, json={"instances": ROWS, "mc_dropout": sampling})
    assert_problem(response, 422, "invalid_request", pointer)


def test_rows_times_samples_have_a_bound(live: Client, path: str) -> None:
    body = {"instances": [[1, 1]] * 1_001, "mc_dropout": {"samples": 1_000}}
    response = live.post(path, json=body)
    assert "1000000" in assert_problem(response, 422, "invalid_request", "/mc_dropout/samples")


def test_cells_beyond_all_measure_are_refused_as_text_too(live: Client, path: str) -> None:
    response = live.post(path, json={"instances": [["1e308", "1"]]})
    assert "too large" in assert_problem(response, 422, "invalid_request", "/instances/0")
