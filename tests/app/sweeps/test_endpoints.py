"""Sweeps as the API tells of them; without a worker, from rows that decisions have made."""

from typing import Any

import pytest

from store import sweeps
from store.jobs import Job, RungResult
from store.sweeps import Changes, Sweep
from tests.support import tables
from tests.support.client import upload
from tests.support.in_process import TestClient, context_of
from tests.support.problems import assert_problem
from tests.support.stored_sweeps import LR, begun, reach

SPACE = {LR: {"choice": [0.1, 0.01]}}
HALVING = {
    "sampler": "random",
    "pruner": {"name": "successive_halving", "reduction": 2},
    "budget": {"trials": 4},
}
RATES = {LR: {"log_uniform": [0.001, 1]}}


def submitted(client: TestClient, **options: Any) -> Any:
    dataset = upload(client, tables.flowers())
    job = {"dataset": {"id": dataset["id"], "target": "label"}, "training": {"epochs": 4}}
    return client.post("/v1/sweeps", json={"job": job, "space": SPACE}, **options)


def begin(client: TestClient, count: int = 4, **options: Any) -> Sweep:
    """A sweep of trials at 2 of 50 epochs."""
    with context_of(client).database.write() as transaction:
        return begun(transaction, count, **options)


def reach_all(client: TestClient, sweep: Sweep, scores: dict[int, list[float | None]]) -> None:
    """Let the jobs of trials reach their rung with these scores, by trial and repeat."""
    with context_of(client).database.write() as transaction:
        by_trial: dict[int, list[Job]] = {}
        for job in sweeps.jobs_of(transaction, sweep.id):
            by_trial.setdefault(job.trial or 0, []).append(job)
        for trial, of_repeats in scores.items():
            for job, score in zip(by_trial[trial], of_repeats, strict=True):
                if score is not None:
                    reach(transaction, job, score)


def advance(client: TestClient, sweep: Sweep, **changes: Any) -> None:
    with context_of(client).database.write() as transaction:
        read = sweeps.get(transaction, sweep.id, tenant=sweep.tenant)
        assert sweeps.advance(transaction, read, Changes(**changes)) is not None


def read(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/v1/sweeps/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_sweep_is_accepted_once(client: TestClient) -> None:
    key = {"Idempotency-Key": "1"}
    answer = submitted(client, headers=key)
    assert answer.status_code == 202
    sweep = answer.json()
    assert answer.headers["location"] == f"/v1/sweeps/{sweep['id']}"
    assert (sweep["state"], sweep["task"], sweep["winner"]) == ("running", "multiclass", None)
    assert sweep["progress"] == {"trials": {}, "max_trials": 2, "epochs_completed": 0, "epochs": 8}
    assert sweep["resolved_config"]["job"]["preset"] == "plain"
    again = client.post(
        "/v1/sweeps",
        json={"job": {"dataset": {"id": sweep["dataset"], "target": "label"}}, "space": SPACE},
        headers=key,
    )
    assert_problem(again, 422, "idempotency_key_reused")
    assert read(client, sweep["id"]) == sweep
    [listed] = client.get("/v1/sweeps", params={"dataset": sweep["dataset"]}).json()["data"]
    assert listed == {name: sweep[name] for name in listed}
    refused = client.delete(f"/v1/datasets/{sweep['dataset']}")
    assert sweep["id"] in assert_problem(refused, 409, "dataset_in_use")


def test_trials_are_ranked_by_what_they_have_reached(sqlite_client: TestClient) -> None:
    sweep = begin(sqlite_client, repeats=2, search={"repeats": 2, "space": RATES, **HALVING})
    reach_all(sqlite_client, sweep, {0: [0.5, 0.7], 1: [0.2, 0.4], 2: [0.1, None], 3: [0.9, 0.9]})
    page = read(sqlite_client, f"{sweep.id}/trials", limit=2)
    assert [trial["number"] for trial in page["data"]] == [1, 0]
    best = page["data"][0]
    assert best["values"] == {LR: 0.1}
    assert best["scores"]["validation_loss"]["mean"] == pytest.approx(0.3)
    assert best["scores"]["validation_loss"]["deviation"] == pytest.approx(0.1 * 2**0.5)
    assert (best["state"], best["trained"], best["model"]) == ("paused", "alone", None)
    assert [job["scores"] for job in best["jobs"]] == [
        {"validation_loss": 0.2},
        {"validation_loss": 0.4},
    ]
    assert [job["state_reason"] for job in best["jobs"]] == ["rung", "rung"]
    rest = read(sqlite_client, f"{sweep.id}/trials", after=page["last_id"])
    assert [trial["number"] for trial in rest["data"]] == [3, 2]
    assert rest["data"][1]["scores"] is None  # a repeat is missing
    assert (page["has_more"], rest["has_more"]) == (True, False)
    by_number = read(sqlite_client, f"{sweep.id}/trials", order="number")["data"]
    assert [trial["number"] for trial in by_number] == [0, 1, 2, 3]
    jobs = sqlite_client.get("/v1/jobs", params={"sweep": sweep.id, "order": "asc"}).json()["data"]
    assert {(job["trial"], job["repeat"]) for job in jobs} == {
        (trial, repeat) for trial in range(4) for repeat in range(2)
    }


def test_the_rungs_tell_who_goes_on(sqlite_client: TestClient) -> None:
    sweep = begin(sqlite_client, search={"space": RATES, **HALVING}, stack="a" * 64)
    reach_all(sqlite_client, sweep, {0: [0.5], 1: [0.2], 2: [0.3]})
    [rung] = read(sqlite_client, sweep.id)["rungs"]
    assert rung["entered"] == [0, 1, 2, 3]
    assert (rung["promoted"], rung["is_full"]) == ([], False)
    failed = {(3, 0, 0): RungResult(1, None, is_finished=False, detail="it diverged")}
    advance(sqlite_client, sweep, failed=failed, stopped={0: "pruned", 3: "pruned"})
    answer = read(sqlite_client, sweep.id)
    assert [(rung["entered"], rung["promoted"]) for rung in answer["rungs"]] == [
        ([0, 1, 2, 3], [1, 2]),
        ([1, 2], []),
    ]
    assert answer["progress"]["trials"] == {"paused": 2, "pruned": 2}
    trials = read(sqlite_client, f"{sweep.id}/trials", order="number")["data"]
    assert [trial["state"] for trial in trials] == ["pruned", "paused", "paused", "pruned"]
    assert trials[3]["detail"] == "it diverged"
    assert trials[3]["rungs"] == [{"number": 0, "epochs": rung["epochs"], "scores": None}]
    assert {trial["trained"] for trial in trials} == {"stacked"}


def test_the_winner_and_what_is_left_of_a_sweep(sqlite_client: TestClient) -> None:
    sweep = begin(sqlite_client, 2, search={"space": SPACE})
    reach_all(sqlite_client, sweep, {0: [0.5], 1: [0.2]})
    advance(
        sqlite_client,
        sweep,
        winners=[1],
        stopped={0: "not_chosen"},
        importance={LR: 1.0},
        events=[("winner", {"trials": [1]})],
    )
    answer = read(sqlite_client, sweep.id)
    assert (answer["winner"]["number"], answer["pareto_front"]) == (1, None)
    assert answer["winner"]["state"] == "queued"  # to be completed
    assert answer["importance"] == {LR: 1.0}
    assert answer["progress"]["trials"] == {"queued": 1, "not_chosen": 1}
    refused = sqlite_client.delete(f"/v1/sweeps/{sweep.id}")
    told = assert_problem(refused, 409, "illegal_transition")
    assert told == f"sweep {sweep.id!r} is running: it cannot be deleted"
    [trial, _] = sqlite_client.get("/v1/jobs", params={"sweep": sweep.id}).json()["data"]
    for method, path in (("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")):
        refused = sqlite_client.request(method, f"/v1/jobs/{trial['id']}{path}")
        assert sweep.id in assert_problem(refused, 409, "trial_needed")
    assert sqlite_client.post(f"/v1/sweeps/{sweep.id}/cancel").json()["state"] == "cancelled"
    events = read(sqlite_client, f"{sweep.id}/events")["data"]
    assert [event["type"] for event in events] == ["running", "trials", "winner", "cancelled"]
    assert sqlite_client.delete(f"/v1/sweeps/{sweep.id}").status_code == 204
    assert sqlite_client.get("/v1/jobs", params={"sweep": sweep.id}).json()["data"] == []
    assert_problem(sqlite_client.get(f"/v1/sweeps/{sweep.id}"), 404, "sweep_not_found")


def test_two_objectives_have_a_front(sqlite_client: TestClient) -> None:
    search = {"space": SPACE, "objective": ["accuracy", "num_parameters"]}
    sweep = begin(sqlite_client, 2, search=search)
    with context_of(sqlite_client).database.write() as transaction:
        for job, scores in zip(
            sweeps.jobs_of(transaction, sweep.id), [(0.9, 100.0), (0.8, 10.0)], strict=True
        ):
            reach(transaction, job, *scores)
    advance(sqlite_client, sweep, winners=[0, 1])
    answer = read(sqlite_client, sweep.id)
    assert answer["winner"] is None
    assert [trial["scores"]["accuracy"]["mean"] for trial in answer["pareto_front"]] == [0.9, 0.8]


def test_a_sweep_waits_until_it_is_resumed(sqlite_client: TestClient) -> None:
    sweep = begin(sqlite_client, 2)
    for what, state, of_trials in [("pause", "paused", "paused"), ("resume", "running", "queued")]:
        for _ in range(2):  # the second call changes nothing
            answer = sqlite_client.post(f"/v1/sweeps/{sweep.id}/{what}")
            assert answer.status_code == 202
            assert answer.json()["state"] == state
            assert answer.json()["progress"]["trials"] == {of_trials: 2}
    keep = {"keep_model": True}
    answer = sqlite_client.post(f"/v1/sweeps/{sweep.id}/cancel", json=keep)
    assert answer.json()["state"] == "running"  # until the best so far is completed
    refused = sqlite_client.post(f"/v1/sweeps/{sweep.id}/cancel", json={"keep": True})
    assert_problem(refused, 422, "invalid_request", "/keep")


def test_a_sweep_that_runs_counts_as_one_queued_job(sqlite_client: TestClient) -> None:
    settings = context_of(sqlite_client).settings
    object.__setattr__(settings, "tenant_queued_jobs", 1)
    assert submitted(sqlite_client).status_code == 202
    told = assert_problem(submitted(sqlite_client), 429, "quota_exceeded")
    assert told == "the limit is 1 queued jobs, and 1 are queued"
