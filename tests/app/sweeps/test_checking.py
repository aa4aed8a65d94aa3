"""A sweep that cannot run is refused before it begins: which value of which field, and why."""

from typing import Any

import pytest

from tests.support.in_process import TestClient
from tests.support.problems import assert_problem

LR = "/training/optimizer/lr"
DROPOUT = "/model/hidden_dropout"
AT_LR = "/space/~1training~1optimizer~1lr"
RATES = {LR: {"log_uniform": [1e-4, 1e-1]}}


def check(api: TestClient, job: dict[str, Any], **sweep: Any) -> Any:
    body = {"job": job, "space": RATES, **sweep}
    return api.post("/v1/sweeps", params={"validate_only": True}, json=body)


@pytest.mark.parametrize(
    ("space", "pointer", "told"),
    [
        ({LR: {"choice": [0.1, 0.0]}}, f"{AT_LR}/choice/1", f"with {LR} = 0.0: Input should be"),
        ({LR: {"uniform": [-1, 0]}}, AT_LR, "greater than 0"),
        ({LR: {"choice": [0.1, 0.1]}}, f"{AT_LR}/choice", "0.1 is there twice"),
        ({LR: {"choice": []}}, f"{AT_LR}/choice", "at least one value"),
        ({LR: {"uniform": [1, 1]}}, f"{AT_LR}/uniform", "has to be larger"),
        ({LR: {"log_uniform": [0, 1]}}, f"{AT_LR}/log_uniform/0", "greater than 0"),
        ({LR: {"nothing": 1}}, AT_LR, "give one of `choice`"),
        ({}, "/space", "at least 1 item"),
        ({"/model/hiden": {"choice": [1]}}, "/space/~1model~1hiden/choice/0", "no such field"),
        ({"/no/where": {"choice": [1]}}, "/space/~1no~1where/choice/0", "no such field"),
        (
            {"/training/optimizer/name": {"choice": ["adam", "sgd"]}},
            "/space/~1training~1optimizer~1name/choice/1",
            "it has no field betas, which the base job sets: put a whole /training/optimizer into",
        ),
        (
            {"/training/scheduler/gamma": {"choice": [0.5]}},
            "/space/~1training~1scheduler~1gamma",
            "/training/scheduler is null, which has no fields",
        ),
        (
            {"/model/hidden": {"choice": [[8], [9_000, 9_000]]}},
            "/space/~1model~1hidden/choice/1",
            "bytes, 50000000 are allowed",
        ),
        (
            {"/training/class_weights": {"choice": [None, [1.0, 2.0]]}},
            "/space/~1training~1class_weights/choice/1",
            "2 weights for 3 classes",
        ),
        (
            {"/training/optimizer": {"choice": [{"lr": 0.1}]}},
            "/space/~1training~1optimizer/choice/0",
            "the object has no 'name'",
        ),
        (
            {"/dataset/features": {"choice": [["petal_length"], ["sepal_length"]]}},
            "/space/~1dataset~1features/choice/1",
            "column 'sepal_length': the data has no such column",
        ),
        ({"/dataset/id": {"choice": ["ds_1"]}}, "/space/~1dataset~1id", "the same in all trials"),
    ],
)
def test_a_space_that_yields_an_invalid_job_names_the_value(
    api: TestClient, base_job: dict[str, Any], space: dict[str, Any], pointer: str, told: str
) -> None:
    refused = check(api, base_job, space=space)
    assert told in assert_problem(refused, 422, "invalid_request", pointer)


@pytest.mark.parametrize(
    ("search", "pointer", "told"),
    [
        ({"objective": "rmse"}, "/objective/metric", "rmse is no metric of this multiclass task"),
        ({"objective": "speed"}, "/objective", "there is no such metric"),
        ({"objective": ["accuracy", "r2"]}, "/objective/1/metric", "r2 is no metric"),
        ({"objective": "cross_validation.f1"}, "/objective/metric", "needs `folds`"),
        (
            {"pruner": {"name": "hyperband", "min_epochs": 9}},
            "/pruner/min_epochs",
            "two rungs need",
        ),
        ({"space": {LR: {"integer": [1, 101]}}, "sampler": "grid"}, "/space", "101 combinations"),
        ({"budget": {"trials": 101}}, "/budget/trials", "101 trials: 100 jobs are allowed"),
        ({"budget": {"trials": 51}, "repeats": 2}, "/budget/trials", "51 trials with 2 repeats"),
        ({"sampler": "grid"}, "/sampler", "a grid needs a list of values"),
        (
            {"space": {"/training/seed": {"integer": [0, 9]}}, "repeats": 2},
            "/repeats",
            "the repeats differ by /training/seed",
        ),
    ],
)
def test_a_search_that_does_not_fit_names_the_field(
    api: TestClient, base_job: dict[str, Any], search: dict[str, Any], pointer: str, told: str
) -> None:
    refused = check(api, base_job, **search)
    assert told in assert_problem(refused, 422, "invalid_request", pointer)


@pytest.mark.parametrize(
    ("job", "pointer", "told"),
    [
        ({"training": {"epochs": 0}}, "/job/training/epochs", "greater than or equal to 1"),
        ({"training": {"epochs": 100_001}}, "/job/training/epochs", "less than or equal to 100000"),
        ({"training": {"seed": 2**53 - 1}}, "/job/training/seed", "must be below 2^53"),
        ({"optimise_for": "rmse"}, "/job/optimise_for", "can be optimised for"),
        ({"tune": {"space": RATES}}, "/job/tune", "cannot be a sweep itself"),
        ({"dataset": {"split": {"validation": 0.0}}}, "/objective/metric", "validation rows"),
        ({"dataset": {"target": "kind"}}, "/job/dataset/target", "the data has no such column"),
    ],
)
def test_the_base_job_is_checked_as_any_job(
    api: TestClient, base_job: dict[str, Any], job: dict[str, Any], pointer: str, told: str
) -> None:
    job = {**base_job, **job, "dataset": base_job["dataset"] | job.get("dataset", {})}
    refused = check(api, job, repeats=2)
    assert told in assert_problem(refused, 422, "invalid_request", pointer)


def test_no_dataset_is_404(api: TestClient) -> None:
    job = {"dataset": {"id": "ds_00000000000000000000000000", "target": "label"}}
    assert_problem(check(api, job), 404, "dataset_not_found", "/job/dataset/id")


def test_each_value_of_tpe_is_checked_though_its_trials_are_not_known(
    api: TestClient, base_job: dict[str, Any]
) -> None:
    space = {
        DROPOUT: {"choice": [*(rate / 100 for rate in range(50)), 2.0]},
        "/model/activation": {"choice": ["relu", "tanh"]},
        "/training/label_smoothing": {
            "uniform": [0.5, 1.5],
            "when": {"/model/activation": ["tanh"]},
        },
    }
    options = {"sampler": "tpe", "window": 1, "budget": {"trials": 1}}
    refused = check(api, base_job, space=space, **options)
    assert_problem(refused, 422, "invalid_request", "/space/~1model~1hidden_dropout/choice/50")
    del space[DROPOUT]
    refused = check(api, base_job, space=space, **options)
    assert_problem(refused, 422, "invalid_request", "/space/~1training~1label_smoothing")


def test_the_depth_of_a_network_can_be_searched(api: TestClient, base_job: dict[str, Any]) -> None:
    space = {"/model/hidden": {"choice": [[8], [8, 8], [8, 8, 8]]}, DROPOUT: {"uniform": [0, 0.5]}}
    for job in (
        base_job,
        base_job | {"preset": "fast"},
        base_job | {"model": {"hidden": [4]}},
    ):
        assert check(api, job, space=space).status_code == 200
    list_of_two = base_job | {"model": {"hidden": [8, 8], "hidden_dropout": [0.1, 0.2]}}
    refused = check(api, list_of_two, space={"/model/hidden": space["/model/hidden"]})
    assert "2 dropouts for" in assert_problem(refused, 422, "invalid_request")
