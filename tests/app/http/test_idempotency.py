import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.http import idempotency as http_idempotency
from app.http.idempotency import once
from store.access import idempotency
from store.access.idempotency import Answer
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until

Client = httpx.Client

KEY = {"Idempotency-Key": "one of a kind"}


def post_dataset(
    client: Client, table: bytes, name: str = "flowers", **options: str
) -> httpx.Response:
    files = {"file": ("table.csv", table)}
    return client.post("/v1/datasets", files=files, data={"name": name, **options}, headers=KEY)


def post_job(client: Client, dataset_id: str, **job: Any) -> httpx.Response:
    body = {"dataset": {"id": dataset_id, "target": "label"}, **job}
    return client.post("/v1/jobs", json=body, headers=KEY)


def num_listed(client: Client, kind: str) -> int:
    return len(client.get(f"/v1/{kind}", params={"limit": 100}).json()["data"])


@pytest.fixture
def dataset_id(client: Client) -> str:
    return upload(client, tables.flowers())["id"]


def assert_replayed(first: httpx.Response, second: httpx.Response) -> None:
    assert "idempotent-replay" not in first.headers
    assert second.headers["idempotent-replay"] == "true"
    assert second.status_code == first.status_code
    assert second.headers["location"] == first.headers["location"]
    assert second.json() == first.json()


def test_a_repeated_upload_is_answered_and_not_stored_again(client: Client) -> None:
    first, second = (post_dataset(client, tables.flowers()) for _ in range(2))
    assert first.status_code == 201
    assert_replayed(first, second)
    assert num_listed(client, "datasets") == 1


def test_a_repeated_job_is_answered_and_not_run_again(client: Client, dataset_id: str) -> None:
    first, second = (post_job(client, dataset_id) for _ in range(2))
    assert first.status_code == 202
    assert_replayed(first, second)
    assert num_listed(client, "jobs") == 1


def test_a_replay_is_the_first_answer_also_when_the_job_has_gone_on(
    client: Client, dataset_id: str
) -> None:
    first = post_job(client, dataset_id)
    client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert_replayed(first, post_job(client, dataset_id))


def test_a_key_holds_for_one_request_alone(client: Client, dataset_id: str) -> None:
    post_job(client, dataset_id)
    other = post_job(client, dataset_id, name="another")
    told = assert_problem(other, 422, "idempotency_key_reused")
    assert (
        told == f"Idempotency-Key {KEY['Idempotency-Key']!r} was used before with another request"
    )
    assert num_listed(client, "jobs") == 1


@pytest.mark.parametrize(
    "change",
    [{"table": tables.flowers(seed=1)}, {"name": "other"}, {"header": "false"}],
    ids=["file", "name", "option"],
)
def test_a_key_holds_for_one_upload_alone(client: Client, change: dict[str, Any]) -> None:
    post_dataset(client, tables.flowers())
    other = post_dataset(client, **{"table": tables.flowers(), **change})
    assert_problem(other, 422, "idempotency_key_reused")
    assert num_listed(client, "datasets") == 1


def test_a_key_is_a_kinds_own(client: Client) -> None:
    dataset = post_dataset(client, tables.flowers())
    assert post_job(client, dataset.json()["id"]).status_code == 202


def test_no_key_means_a_job_each_time(client: Client, dataset_id: str) -> None:
    ids = {submit(client, dataset_id, "label")["id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_request_in_flight_is_not_done_again(
    client: Client, database: Database, dataset_id: str
) -> None:
    name = f"{DEFAULT_TENANT} POST /v1/jobs {KEY['Idempotency-Key']}"
    scoped = hashlib.sha256(name.encode()).hexdigest()
    answer = post_job(client, dataset_id)
    with database.write() as transaction:
        # As between the first request's reservation and its answer.
        row = transaction.exec_driver_sql("SELECT request_sha256 FROM idempotency_keys").scalar()
        transaction.exec_driver_sql("DELETE FROM idempotency_keys")
        assert (
            idempotency.reserve(transaction, scoped, request_sha256=str(row), tenant=DEFAULT_TENANT)
            is None
        )
    assert answer.status_code == 202
    assert_problem(post_job(client, dataset_id), 409, "request_in_flight")
    assert num_listed(client, "jobs") == 1
    with database.write() as transaction:
        idempotency.release(transaction, scoped)
    assert post_job(client, dataset_id).status_code == 202


def test_a_refused_job_gives_its_key_back(client: Client, dataset_id: str) -> None:
    refused = post_job(client, dataset_id, model={"hidden": [60_000, 60_000]})
    assert_problem(refused, 422, "invalid_request", "/model/hidden")
    assert post_job(client, dataset_id).status_code == 202


def test_a_refused_upload_gives_its_key_back(client: Client) -> None:
    assert_problem(post_dataset(client, b"a,b\n1\n"), 422, "invalid_request", "/file")
    assert post_dataset(client, tables.flowers()).status_code == 201


def test_many_requests_at_once_make_one_job(client: Client, dataset_id: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post_job(client, dataset_id), range(16)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert num_listed(client, "jobs") == 1


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_has_to_be_one(client: Client, dataset_id: str, key: str) -> None:
    body = {"dataset": {"id": dataset_id, "target": "label"}}
    response = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
    assert_problem(response, 422, "invalid_request", "Idempotency-Key")


def test_a_key_is_renewed_while_its_request_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a key is soon free again whose process was killed."""
    monkeypatch.setattr(http_idempotency, "RENEW_SECONDS", 0.01)
    database.migrate()
    request = {"tenant": DEFAULT_TENANT, "operation": "POST", "request": b"1"}
    with once(database, "key", **request) as reservation:  # type: ignore[arg-type]
        assert reservation.key is not None
        with database.read() as transaction:
            before = idempotency.held_since(transaction, reservation.key)

        def is_renewed() -> bool:
            with database.read() as transaction:
                return idempotency.held_since(transaction, str(reservation.key)) > before

        wait_until(is_renewed)
        with database.write() as transaction:
            reservation.complete(transaction, Answer(200, {}, {}))
    with once(database, "key", **request) as again:  # type: ignore[arg-type]
        assert again.replay is not None
