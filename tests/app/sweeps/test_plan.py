"""What `validate_only` tells of a sweep, and that it stores nothing."""

from pathlib import Path
from typing import Any

from tests.support.in_process import TestClient, context_of
from tests.support.problems import stored

DROPOUT = "/model/hidden_dropout"


def plan_of(api: TestClient, job: dict[str, Any], **sweep: Any) -> dict[str, Any]:
    body = {"job": job, "space": {DROPOUT: {"uniform": [0, 0.5]}}, **sweep}
    answer = api.post("/v1/sweeps", params={"validate_only": True}, json=body)
    assert answer.status_code == 200, answer.text
    plan: dict[str, Any] = answer.json()
    return plan


def test_a_plan_has_the_rungs_and_stores_nothing(api: TestClient, base_job: dict[str, Any]) -> None:
    data_dir: Path = context_of(api).settings.data_dir
    before = stored(api, data_dir), api.get("/v1/sweeps").json()
    pruner = {"name": "successive_halving", "reduction": 4}
    plan = plan_of(api, base_job, pruner=pruner, budget={"trials": 16}, repeats=2)
    assert (plan["num_trials"], plan["num_jobs"]) == (16, 32)
    assert [(rung["epochs"], rung["num_trials"]) for rung in plan["rungs"]] == [
        (1, 16),
        (4, 4),
        (16, 1),
    ]
    assert plan["epochs"] == 2 * (16 * 1 + 4 * 3 + 1 * 12)
    assert plan["estimated_seconds"] > 0
    assert len(plan["first_trials"]) == 10
    assert all(0 <= values[DROPOUT] <= 0.5 for values in plan["first_trials"])
    assert (stored(api, data_dir), api.get("/v1/sweeps").json()) == before


def test_a_plan_can_be_submitted_as_it_is(api: TestClient, base_job: dict[str, Any]) -> None:
    """Its job has a value for every field, and the same trials."""
    plan = plan_of(api, base_job | {"preset": "fast"}, name="search")
    again = plan_of(api, **plan["resolved_config"])
    assert again["first_trials"] == plan["first_trials"]
    assert again["resolved_config"] == plan["resolved_config"]
    assert plan["resolved_config"]["job"]["name"] == "search"  # and so is the winner's model


def test_a_small_space_has_fewer_trials_than_its_budget(
    api: TestClient, base_job: dict[str, Any]
) -> None:
    plan = plan_of(api, base_job, space={DROPOUT: {"choice": [0.1, 0.5]}})
    assert plan["num_trials"] == 2
    assert plan["warnings"] == [
        "the space has 2 combinations: there are so many trials, and not 32"
    ]


def test_a_time_limit_of_trials_is_warned_of(api: TestClient, base_job: dict[str, Any]) -> None:
    limited = {**base_job, "training": {**base_job.get("training", {}), "max_runtime_seconds": 2}}
    [warning] = plan_of(api, limited)["warnings"]
    assert warning.startswith("a trial that trains for 2 s")
