"""How far the members of a model contradict each other, over HTTP."""

from typing import Any

import httpx
import pytest

from tests.support.client import train
from tests.support.problems import assert_problem

Client = httpx.Client

ROWS = [[1.0, 0.5], [5.1, 1.9], [3.0, 1.1]]


@pytest.fixture(scope="module")
def path(live: Client, flowers: dict[str, Any]) -> str:
    job = train(
        live,
        flowers["id"],
        "label",
        model={"hidden": [8], "members": 3},
        training={"epochs": 2, "optimizer": {"name": "adam", "lr": 0.02}},
    )
    assert job["state"] == "succeeded", job
    return f"/v1/models/{job['model']}"


def predict(live: Client, path: str, rows: list[list[float]], **options: Any) -> dict[str, Any]:
    response = live.post(f"{path}/predict", json={"instances": rows, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_spread_is_of_the_row_alone_and_changes_nothing_else(live: Client, path: str) -> None:
    plain = predict(live, path, ROWS)
    assert predict(live, path, ROWS, member_spread=False) == plain
    answer = predict(live, path, ROWS, member_spread=True)
    spread = answer.pop("member_spread")
    assert answer == plain
    for mean, probabilities in zip(spread["mean"], plain["probabilities"], strict=True):
        assert mean == pytest.approx(probabilities, rel=1e-9)
    assert all(value > 0 for row in spread["standard_deviation"] for value in row)
    for index, row in enumerate(ROWS):
        alone = predict(live, path, [row], member_spread=True)["member_spread"]
        assert alone == {name: [values[index]] for name, values in spread.items()}


def test_it_comes_beside_monte_carlo_dropout(live: Client, path: str) -> None:
    sampling = {"samples": 5}
    both = predict(live, path, ROWS, member_spread=True, mc_dropout=sampling)
    assert both["uncertainty"] == predict(live, path, ROWS, mc_dropout=sampling)["uncertainty"]
    alone = predict(live, path, ROWS, member_spread=True)["member_spread"]
    assert both["member_spread"] == alone != both["uncertainty"]


def test_a_model_with_one_member_does_not_spread(
    live: Client, flower_model: dict[str, Any]
) -> None:
    body = {"instances": ROWS, "member_spread": True}
    response = live.post(f"/v1/models/{flower_model['id']}/predict", json=body)
    assert "one member" in assert_problem(response, 422, "invalid_request", "/member_spread")
    response = live.post(
        f"/v1/models/{flower_model['id']}/predict", json={**body, "member_spread": 1}
    )
    assert_problem(response, 422, "invalid_request", "/member_spread")


@pytest.mark.parametrize(
    ("model", "pointer"),
    [
        ({"members": 65}, "/model/members"),
        ({"members": 2, "batch_norm": True}, "/model/members"),
        ({"members": 2, "member_sharing": "all"}, "/model/member_sharing"),
        ({"parametric_activation": True, "activation": "maxout"}, "/model/parametric_activation"),
    ],
    ids=str,
)
def test_members_that_cannot_be_trained_are_refused_at_their_field(
    live: Client, flowers: dict[str, Any], model: dict[str, Any], pointer: str
) -> None:
    body = {"dataset": {"id": flowers["id"], "target": "label"}, "model": model}
    response = live.post("/v1/jobs?validate_only=true", json=body)
    assert_problem(response, 422, "invalid_request", pointer)
