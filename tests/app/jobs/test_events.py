import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import tables
from tests.support.client import events, submit, upload
from tests.support.problems import assert_problem

Client = httpx.Client


def test_a_stream_tells_a_job_from_its_first_event_to_its_last(
    live: Client, flowers: dict[str, Any]
) -> None:
    job = submit(live, flowers["id"], "label", training={"epochs": 3})
    stream = list(events(live, job["id"]))
    told = [
        event["data"]["data"].get("step" if event["event"] == "step" else "epoch", event["event"])
        for event in stream
    ]
    assert told == [
        *("queued", "running", "reading", "encoding", "scaling", "training", 1, 2, 3, "evaluating"),
        "succeeded",
    ]
    assert [event["id"] for event in stream] == list(range(1, 12))
    assert stream[-1]["data"]["data"]["reason"] == "completed"


@pytest.mark.parametrize("seen", [0, 1, 7, 19])
def test_a_stream_resumes_with_exactly_the_rest(
    live: Client, flower_job: dict[str, Any], seen: int
) -> None:
    whole = list(events(live, flower_job["id"]))
    assert list(events(live, flower_job["id"], last_event_id=seen)) == whole[seen:]


def test_the_stream_of_a_job_that_is_over_ends(live: Client, flower_job: dict[str, Any]) -> None:
    last = list(events(live, flower_job["id"]))[-1]
    assert last["event"] == "succeeded"


def test_two_streams_of_a_job_tell_the_same(live: Client, flowers: dict[str, Any]) -> None:
    job = submit(live, flowers["id"], "label", training={"epochs": 5})
    together = threading.Barrier(2)

    def watch() -> list[dict[str, Any]]:
        together.wait()
        return list(events(live, job["id"]))

    with ThreadPoolExecutor(2) as pool:
        first, second = (watched.result() for watched in [pool.submit(watch) for _ in range(2)])
    assert first == second
    assert len(first) == 2 + 5 + 5 + 1


def test_pages_hold_what_the_stream_tells(live: Client, flower_job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{flower_job['id']}/events"
    found: list[dict[str, Any]] = []
    for more in (True, True, False):
        params = {"limit": 8, "after": found[-1]["id"] if found else 0}
        page = live.get(path, params=params).json()
        found += page["data"]
        assert page["has_more"] is more
        assert page["last_id"] == found[-1]["id"]
    assert found == [event["data"] for event in events(live, flower_job["id"])]
    assert found[0]["created_at"].endswith("Z")


def test_a_page_after_the_last_event_is_empty(client: Client) -> None:
    job = submit(client, upload(client, tables.flowers())["id"], "label")
    page = client.get(f"/v1/jobs/{job['id']}/events", params={"after": 1}).json()
    assert page == {"data": [], "has_more": False, "last_id": None}


@pytest.mark.parametrize("last_event_id", ["", "-1", "x", "1.0", "9" * 30])
def test_a_stream_resumes_after_an_event_id_only(sqlite_client: Client, last_event_id: str) -> None:
    job = submit(sqlite_client, upload(sqlite_client, tables.flowers())["id"], "label")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_event_id}
    response = sqlite_client.get(f"/v1/jobs/{job['id']}/events", headers=headers)
    assert "Last-Event-ID" in assert_problem(response, 422, "invalid_request")


def test_the_stream_of_no_job_is_404(sqlite_client: Client) -> None:
    headers = {"Accept": "text/event-stream"}
    response = sqlite_client.get("/v1/jobs/job_0/events", headers=headers)
    assert_problem(response, 404, "job_not_found")
