"""Jobs that wait until they are resumed, as the API tells of them; without a worker."""

from typing import Any

import httpx

from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient, context_of
from tests.support.problems import assert_problem
from tests.support.store_examples import claim

Client = httpx.Client


def queued_job(client: Client) -> dict[str, Any]:
    return submit(client, upload(client, tables.flowers())["id"], "label")


def asked(client: Client, job: dict[str, Any], what: str) -> dict[str, Any]:
    answer = client.post(f"/v1/jobs/{job['id']}/{what}")
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_queued_job_waits_until_it_is_resumed(client: Client) -> None:
    job = queued_job(client)
    for _ in range(2):  # the second call changes nothing
        paused = asked(client, job, "pause")
        assert (paused["state"], paused["state_reason"]) == ("paused", "user")
    listed = client.get("/v1/jobs", params={"state": "paused"}).json()["data"]
    assert [each["id"] for each in listed] == [job["id"]]
    refused = client.delete(f"/v1/datasets/{job['dataset']}")
    assert job["id"] in assert_problem(refused, 409, "dataset_in_use")
    for _ in range(2):
        resumed = asked(client, job, "resume")
        assert (resumed["state"], resumed["state_reason"]) == ("queued", None)
    page = client.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert [event["type"] for event in page] == ["queued", "paused", "queued"]


def test_a_job_that_runs_is_asked_to_pause(sqlite_client: TestClient) -> None:
    """Its worker writes a checkpoint first."""
    job = queued_job(sqlite_client)
    with context_of(sqlite_client).database.write() as transaction:
        assert claim(transaction, job["id"]) is not None
    assert asked(sqlite_client, job, "pause")["state"] == "running"
    assert asked(sqlite_client, job, "resume")["state"] == "running"


def test_a_paused_job_can_be_cancelled(sqlite_client: Client) -> None:
    job = queued_job(sqlite_client)
    asked(sqlite_client, job, "pause")
    assert asked(sqlite_client, job, "cancel")["state"] == "cancelled"
    for what, done in [("pause", "paused"), ("resume", "resumed")]:
        refused = sqlite_client.post(f"/v1/jobs/{job['id']}/{what}")
        told = assert_problem(refused, 409, "illegal_transition")
        assert told == f"job {job['id']!r} is cancelled: it cannot be {done}"
