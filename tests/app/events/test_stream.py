import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from app.events import stream
from app.main import create_app
from app.monitoring import watched_events
from store.access import keys
from store.database.engine import Database
from store.settings import Settings
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem
from tests.support.store_examples import new_key

SECONDS = 30
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def app(sqlite_url: str, tmp_path: Path) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path / "data", database_url=sqlite_url))


def queued_job(client: httpx.Client) -> str:
    dataset = upload(client, tables.flowers())
    job_id: str = submit(client, dataset["id"], "label")["id"]
    return job_id


class Listener:
    """A client of a stream: what it is sent, and whether it stays."""

    def __init__(self, app: FastAPI, path: str, token: str) -> None:
        self._app, self._path, self._token = app, path, token
        self.left = asyncio.Event()
        self.has_asked = False
        self.status = 0
        self.body = b""
        self.is_complete = False

    async def receive(self) -> Message:
        if not self.has_asked:
            self.has_asked = True
            return {"type": "http.request"}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
            self.is_complete = not message.get("more_body", False)

    async def listen(self) -> None:
        headers = {"host": "127.0.0.1", "accept": "text/event-stream"}
        headers |= {"authorization": f"Bearer {self._token}"} if self._token else {}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await self._app(scope, self.receive, self.send)


@asynccontextmanager
async def listening(app: FastAPI, job_id: str, token: str = "") -> AsyncIterator[Listener]:
    """A client that listens to a job's events for the length of the block, and then leaves."""
    listener = Listener(app, f"/v1/jobs/{job_id}/events", token)
    task = asyncio.create_task(listener.listen())
    try:
        await until(lambda: task.done() or b"queued" in listener.body)
        yield listener
    finally:
        listener.left.set()
        async with asyncio.timeout(SECONDS):
            await task


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [("MAX_TENANT_STREAMS", 429, "quota_exceeded"), ("MAX_STREAMS", 503, "busy")],
)
def test_there_may_be_so_many_streams_and_no_more(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, limit: str, status: int, code: str
) -> None:
    monkeypatch.setattr(stream, limit, 3)
    with TestClient(app) as client:
        job_id = queued_job(client)

        async def watch() -> None:
            for _ in range(2):  # places are free again once their clients have left
                async with listening(app, job_id), listening(app, job_id), listening(app, job_id):
                    path = f"/v1/jobs/{job_id}/events"
                    refused = await asyncio.to_thread(client.get, path, headers=STREAM)
                    assert "3 event streams" in assert_problem(refused, status, code)
                    assert int(refused.headers["retry-after"]) > 0
                    assert (await asyncio.to_thread(client.get, path)).status_code == 200
            assert app.state.context.watched_events.num_watchers.total() == 0

        asyncio.run(watch())


def test_as_many_as_come_at_once_are_counted(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_TENANT_STREAMS", 5)
    with TestClient(app) as client:
        job_id = queued_job(client)

    async def watch() -> None:
        listeners = [Listener(app, f"/v1/jobs/{job_id}/events", "") for _ in range(20)]
        tasks = [asyncio.create_task(listener.listen()) for listener in listeners]
        await until(lambda: all(listener.status for listener in listeners))
        assert sorted(listener.status for listener in listeners) == [200] * 5 + [429] * 15
        for listener in listeners:
            listener.left.set()
        await asyncio.gather(*tasks)
        assert app.state.context.watched_events.num_watchers.total() == 0

    asyncio.run(watch())


def test_a_stream_ends_with_its_key(
    app: FastAPI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be resumed by whoever has another."""
    monkeypatch.setattr(stream, "CALLER_SECONDS", 0.1)
    with TestClient(app) as client:
        job_id = queued_job(client)
    database = Database(sqlite_url)
    with database.write() as transaction:
        token = new_key(transaction)

    async def watch() -> None:
        async with listening(app, job_id, token) as listener:
            with database.write() as transaction:
                keys.revoke(transaction, keys.all_keys(transaction)[0].id)
            await until(lambda: listener.is_complete)
            assert listener.body.count(b"event: ") == 1

    asyncio.run(watch())
    database.close()


def test_a_client_that_does_not_read_delays_no_stop(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_events, "CLOSE_SECONDS", 0.1)
    with TestClient(app) as client:
        job_id = queued_job(client)

    class Deaf(Listener):
        async def send(self, message: Message) -> None:
            await super().send(message)
            await self.left.wait()

    async def watch() -> None:
        listener = Deaf(app, f"/v1/jobs/{job_id}/events", "")
        task = asyncio.create_task(listener.listen())
        await until(lambda: listener.status)
        app.state.context.watched_events.close()
        await asyncio.wait_for(task, SECONDS)

    asyncio.run(watch())


def test_streams_end_in_order_when_the_process_stops(app: FastAPI) -> None:
    with TestClient(app) as client:
        job_id = queued_job(client)

    async def watch() -> None:
        async with listening(app, job_id) as first, listening(app, job_id) as second:
            app.state.context.watched_events.close()
            await until(lambda: first.is_complete and second.is_complete)
            assert first.status == second.status == 200

    asyncio.run(watch())


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("text/*", True),
        ("text/event-stream, */*;q=0.1", True),
        ("application/json;q=0.5, text/event-stream", True),
        ("text/event-stream;q=0.5, application/json", False),
        ("text/event-stream;q=0", False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-streams", False),
        ('text/plain; what="text/event-stream"', False),
        ("image/png", False),
        ("", False),
    ],
)
def test_a_client_gets_the_form_that_it_prefers(
    over: tuple[httpx.Client, str], accept: str, is_stream: bool
) -> None:
    client, path = over
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code == 200
    expected = "text/event-stream" if is_stream else "application/json"
    assert answer.headers["content-type"].startswith(expected)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A client, and the path of the events of a job that was cancelled before it ran."""
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("over")))
    with TestClient(app) as client:
        job_id = queued_job(client)
        client.post(f"/v1/jobs/{job_id}/cancel")
        yield client, f"/v1/jobs/{job_id}/events"


def test_a_stream_is_over_once_its_last_event_was_seen(over: tuple[httpx.Client, str]) -> None:
    client, path = over
    first = client.get(path, headers=STREAM | {"Last-Event-ID": "1"})
    assert (first.status_code, first.text.count("event: ")) == (200, 1)
    for resumed in (
        client.get(path, headers=STREAM | {"Last-Event-ID": "2"}),
        client.get(path, headers=STREAM | {"Last-Event-ID": "99"}),
        client.get(path, headers=STREAM, params={"after": 2}),
    ):
        assert (resumed.status_code, resumed.content) == (204, b"")  # an EventSource stops


def test_a_stream_does_not_resume_after_what_has_not_happened(
    sqlite_client: httpx.Client,
) -> None:
    path = f"/v1/jobs/{queued_job(sqlite_client)}/events"
    answer = sqlite_client.get(path, headers=STREAM | {"Last-Event-ID": "2"})
    assert "after event 2" in assert_problem(answer, 422, "invalid_request")
