from typing import Any

import httpx
import pytest

from dropout_core.config import PRESETS, settled
from tests.support import tables
from tests.support.client import upload
from tests.support.problems import assert_problem

Client = httpx.Client


def test_the_list_has_each_preset_and_the_rule(sqlite_client: Client) -> None:
    answer = sqlite_client.get("/v1/presets").json()
    assert [preset["name"] for preset in answer["data"]] == list(PRESETS)
    assert "gets `default` if it gives nothing" in answer["rule"]
    assert answer["goals"]["regression"] == ["rmse", "mae"]
    assert all(preset["summary"] for preset in answer["data"])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_every_value_for_the_table_that_is_meant(
    sqlite_client: Client, name: Any
) -> None:
    table = {"task": "regression", "rows": 500, "columns": 300, "optimise_for": "mae"}
    answer = sqlite_client.get(f"/v1/presets/{name}", params=table).json()
    recipe = settled(name, task="regression", num_rows=500, num_columns=300, optimise_for="mae")
    for section, config in recipe._asdict().items():
        assert answer[section] == config.every_value()
    assert answer["table"] == table
    [listed] = [
        preset
        for preset in sqlite_client.get("/v1/presets", params=table).json()["data"]
        if preset["name"] == name
    ]
    assert listed == answer


def test_the_job_of_a_preset_can_be_submitted(sqlite_client: Client) -> None:
    dataset = upload(sqlite_client, tables.flowers(num_rows=1250))
    table = {"task": "multiclass", "rows": 1000, "columns": 2, "optimise_for": "roc_auc"}
    for preset in sqlite_client.get("/v1/presets", params=table).json()["data"]:
        job = preset["job"] | {"dataset": {"id": dataset["id"], "target": "label"}}
        accepted = sqlite_client.post("/v1/jobs", params={"validate_only": True}, json=job)
        config = accepted.json()["resolved_config"]
        for section in ("preprocessing", "model", "training"):
            assert config[section] == preset[section]
        given_whole = {**job, **{s: preset[s] for s in ("preprocessing", "model", "training")}}
        again = sqlite_client.post("/v1/jobs", params={"validate_only": True}, json=given_whole)
        assert again.json()["resolved_config"] == config


def test_a_preset_that_does_not_exist_is_not_found(sqlite_client: Client) -> None:
    detail = assert_problem(sqlite_client.get("/v1/presets/worst"), 404, "preset_not_found")
    assert "there are fast, default, best, plain" in detail


@pytest.mark.parametrize(
    ("parameters", "pointer", "reason"),
    [
        ({"task": "clustering"}, "task", "multilabel"),
        ({"rows": 0}, "rows", "greater than or equal to 1"),
        ({"columns": "many"}, "columns", "integer"),
        ({"optimise_for": "speed"}, "optimise_for", "accuracy"),
        ({"optimise_for": "rmse"}, "optimise_for", "a multiclass task can be optimised for acc"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    sqlite_client: Client, parameters: dict[str, Any], pointer: str, reason: str
) -> None:
    for path in ("/v1/presets", "/v1/presets/best"):
        answer = sqlite_client.get(path, params=parameters)
        assert reason in assert_problem(answer, 422, "invalid_request", pointer)
