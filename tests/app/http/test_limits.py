"""What one tenant may ask of the service, and how it is told."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.http import limits
from app.http.errors import RequestError
from app.http.limits import FORM_BYTES, NUM_FILES_UNDER_WAY, FilesUnderWay
from app.http.routes import BodyClass, Demands
from app.http.security import Caller
from app.main import create_app
from store.access.keys import Scope
from store.settings import Settings
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem, stored
from tests.support.service import SETTINGS

SLOW = 1e-3  # requests a second: no place comes free while a test runs


class Apis:
    """Some processes of the API, as it were, on one database; `client` calls the first."""

    def __init__(self, stack: ExitStack, url: str, folder: Path, **limits: object) -> None:
        self.data_dir = folder / "data"
        self._settings = Settings(
            data_dir=self.data_dir, database_url=url, **{**SETTINGS, **limits}
        )
        self._stack = stack
        self.client = self.another()

    def another(self) -> TestClient:
        app = create_app(self._settings)
        return self._stack.enter_context(TestClient(app, raise_server_exceptions=False))


@pytest.fixture
def limited(sqlite_url: str, tmp_path: Path) -> Any:
    """Makes such APIs; that each kind of database counts right is tried in `tests.store`."""
    with ExitStack() as stack:
        yield lambda **limits: Apis(stack, sqlite_url, tmp_path, **limits)


def test_a_full_queue_takes_no_more_and_says_when_to_ask_again(limited: Any) -> None:
    apis = limited(tenant_queued_jobs=1)
    dataset = upload(apis.client, tables.flowers())
    submit(apis.client, dataset["id"], "label")
    before = stored(apis.client, apis.data_dir)
    job = {"dataset": {"id": dataset["id"], "target": "label"}}
    refused = apis.another().post("/v1/jobs", json=job)
    assert_problem(refused, 429, "quota_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    assert stored(apis.client, apis.data_dir) == before


@pytest.mark.parametrize("limit", [{"tenant_datasets": 1}, {"tenant_dataset_bytes": 3000}])
def test_no_more_datasets_are_kept_than_may_be(limited: Any, limit: dict[str, int]) -> None:
    apis = limited(**limit)
    upload(apis.client, tables.flowers())
    before = stored(apis.client, apis.data_dir)
    refused = apis.client.post("/v1/datasets", files={"file": tables.flowers()})
    assert_problem(refused, 429, "quota_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    assert stored(apis.client, apis.data_dir) == before


def test_a_request_that_was_refused_for_a_quota_can_be_made_again(limited: Any) -> None:
    apis = limited(tenant_datasets=1)
    first = upload(apis.client, tables.flowers())
    again = {"files": {"file": tables.flowers()}, "headers": {"Idempotency-Key": "again"}}
    assert_problem(apis.client.post("/v1/datasets", **again), 429, "quota_exceeded")
    apis.client.delete(f"/v1/datasets/{first['id']}")
    assert apis.client.post("/v1/datasets", **again).status_code == 201


def test_requests_are_limited_over_all_processes(limited: Any) -> None:
    apis = limited(tenant_requests_per_second=SLOW, tenant_request_burst=4)
    clients = [apis.client, apis.another()]
    answers = [client.get("/v1/jobs") for _ in range(4) for client in clients]
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 4
    for answer in answers[4:]:
        assert_problem(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 1 / SLOW


def test_tokens_taken_ahead_are_all_spent_and_none_is_made_up(limited: Any) -> None:
    apis = limited(tenant_requests_per_second=SLOW, tenant_request_burst=50)
    statuses = [apis.client.get("/v1/jobs").status_code for _ in range(60)]
    assert statuses == [200] * 50 + [429] * 10


def test_health_is_asked_as_often_as_it_likes(limited: Any) -> None:
    apis = limited(tenant_requests_per_second=SLOW, tenant_request_burst=1)
    assert {apis.client.get("/livez").status_code for _ in range(9)} == {200}
    assert apis.client.get("/v1/jobs").status_code == 200


def test_without_a_limit_no_request_is_counted(limited: Any) -> None:
    apis = limited()
    assert {apis.client.get("/v1/jobs").status_code for _ in range(150)} == {200}


@pytest.mark.parametrize(
    ("limit", "job", "pointer"),
    [
        ({"max_parameters": 100}, {"model": {"hidden": [64]}}, "/model/hidden"),
        ({"max_epochs": 9}, {"training": {"epochs": 10}}, "/training/epochs"),
        ({"max_batch_size": 9}, {"training": {"batch_size": 10}}, "/training/batch_size"),
        (
            {"max_runtime_seconds": 9},
            {"training": {"max_runtime_seconds": 9.5}},
            "/training/max_runtime_seconds",
        ),
    ],
)
def test_a_job_over_a_limit_is_refused_by_its_field(
    limited: Any, limit: dict[str, Any], job: dict[str, Any], pointer: str
) -> None:
    apis = limited(**limit)
    dataset = upload(apis.client, tables.flowers())
    body = {"dataset": {"id": dataset["id"], "target": "label"}, **job}
    detail = assert_problem(apis.client.post("/v1/jobs", json=body), 422, None, pointer)
    assert str(next(iter(limit.values()))) in detail
    assert apis.client.get("/v1/jobs").json()["data"] == []


def test_a_preset_has_narrower_layers_where_its_own_exceed_the_limits(limited: Any) -> None:
    client = limited(max_parameters=10_000).client
    dataset = {"id": upload(client, tables.flowers())["id"], "target": "label"}
    body: dict[str, Any] = {"dataset": dataset, "preset": "default"}
    answer = client.post("/v1/jobs", params={"validate_only": True}, json=body).json()
    hidden = answer["resolved_config"]["model"]["hidden"]
    assert answer["num_parameters"] <= 10_000
    assert f"the job has {', '.join(map(str, hidden))} units" in answer["warnings"][-1]
    again = {**body, "model": {"hidden": hidden}}
    assert (
        client.post("/v1/jobs", json=again).json()["resolved_config"]["model"]["hidden"] == hidden
    )
    wider = {**body, "model": {"hidden": [2 * width for width in hidden]}}
    assert_problem(client.post("/v1/jobs", json=wider), 422, None, "/model/hidden")


def test_a_preset_that_no_width_fits_is_refused(limited: Any) -> None:
    client = limited(max_parameters=100).client
    body = {"dataset": {"id": upload(client, tables.flowers())["id"], "target": "label"}}
    assert_problem(client.post("/v1/jobs", json=body), 422, None, "/model/hidden")


def test_a_job_that_names_no_time_gets_the_longest(limited: Any) -> None:
    apis = limited(max_runtime_seconds=9)
    dataset = upload(apis.client, tables.flowers())
    job = submit(apis.client, dataset["id"], "label")
    assert job["resolved_config"]["training"]["max_runtime_seconds"] == 9
    shorter = submit(apis.client, dataset["id"], "label", training={"max_runtime_seconds": 5.0})
    assert shorter["resolved_config"]["training"]["max_runtime_seconds"] == 5


FILE = Demands(Scope.TRAIN, BodyClass.FILE)
PREDICTED = Demands(Scope.PREDICT, BodyClass.FILE)


@pytest.mark.parametrize(
    ("demands", "quota", "limit"),
    [
        (FILE, 30_000, 30_000 + FORM_BYTES),
        (FILE, None, NUM_FILES_UNDER_WAY * 500_000),
        (PREDICTED, 30_000, 500_000),
        (PREDICTED, None, NUM_FILES_UNDER_WAY * 500_000),
    ],
)
def test_files_count_while_they_arrive(
    monkeypatch: pytest.MonkeyPatch, demands: Demands, quota: int | None, limit: int
) -> None:
    """A quota counts what is stored: files that have not all arrived take as much of the disk."""
    monkeypatch.setattr(limits, "found_demands", lambda _: demands)

    async def take(scope: Any, receive: Any, _: Any) -> None:
        for _ in range(scope["num_messages"]):
            await receive()
        await scope["end"].wait()

    async def run() -> None:
        guard = FilesUnderWay(take, max_file_bytes=500_000, quota_bytes=quota)
        end = asyncio.Event()

        def send(tenant: str, size: int) -> asyncio.Task[None]:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": bytes(size), "more_body": True}

            state = {"caller": Caller(tenant, frozenset(), None, "")}
            scope = {"type": "http", "state": state, "num_messages": 2, "end": end}
            return asyncio.create_task(guard(scope, receive, receive))

        fitting = [send("a", limit // 4), send("a", limit // 4), send("b", limit // 2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match=str(limit)) as refused:
            await send("a", 2)
        assert (refused.value.status, refused.value.code) == (429, "quota_exceeded")
        end.set()
        await asyncio.gather(*fitting)
        await send("a", limit // 2)  # what was under way is gone

    asyncio.run(run())
