"""Whoever asks for much, or says nothing, keeps nobody else waiting."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi import UploadFile
from sqlalchemy.exc import OperationalError
from starlette.types import Message, Receive, Scope, Send

from app.datasets.service import stored_table
from app.http import limits, slots
from app.http.errors import MAX_FLAWS
from app.http.limits import BodyLimit, BodyTooSlow
from app.http.routes import BodyClass
from app.http.uploads import Upload
from app.main import create_app
from dropout_core.data.read_options import ReadOptions
from store.settings import Settings
from tests.support import tables
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem
from tests.support.service import SETTINGS


@pytest.fixture
def app(sqlite_url: str, tmp_path: Path) -> Any:
    settings = {**SETTINGS, "max_request_bytes": 8_000_000}
    return create_app(Settings(data_dir=tmp_path / "data", database_url=sqlite_url, **settings))


def test_requests_that_take_long_leave_threads_to_others(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "SLOT_SECONDS", 0.1)
    shared = app.state.context.slots
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        for number in range(slots.NUM_SLOTS):
            client.portal.call(shared.acquire, f"tenant {number}")
        assert client.get("/v1/jobs").status_code == 200
        refused = client.post("/v1/datasets", files={"file": tables.flowers()})
        assert_problem(refused, 503, "busy")
        assert int(refused.headers["retry-after"]) > 0

        client.portal.call(shared.release, "tenant 0")
        for _ in range(2):  # a slot that was held is free again
            sent = client.post("/v1/datasets", files={"file": tables.flowers()})
            assert sent.status_code == 201


@pytest.mark.parametrize("body", [{"features": [1] * 50_000}, {f"f{n}": 0 for n in range(9_000)}])
def test_of_thousands_of_errors_some_are_named(app: Any, body: dict[str, Any]) -> None:
    job = {"dataset": {"id": "ds_1", "target": "y", **body}}
    with TestClient(app) as client:
        answer = client.post("/v1/jobs", json=job)
    assert_problem(answer, 422, "invalid_request")
    assert 0 < len(answer.json()["errors"]) <= MAX_FLAWS
    assert len(answer.content) < 100_000


def test_a_config_has_less_room_than_rows(app: Any) -> None:
    body = {"padding": "x" * 5_000_000}
    with TestClient(app) as client:
        assert_problem(client.post("/v1/jobs", json=body), 413, "body_too_large")
        assert client.post("/v1/models/mdl_1/predict", json=body).status_code == 404


def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_IDLE_SECONDS", 0.05)
    given: list[Message] = [{"type": "http.request", "body": b"[1,", "more_body": True}]

    async def receive() -> Message:
        return given.pop() if given else await asyncio.Future()

    async def read_all(_: Scope, receive: Receive, __: Send) -> None:
        while True:
            await receive()

    guard = BodyLimit(read_all, max_bytes={BodyClass.CONFIG: 9})
    with pytest.raises(BodyTooSlow):
        asyncio.run(guard({"type": "http", "path": "/", "headers": []}, receive, receive))


def test_who_waits_for_an_answer_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a connection, which comes as a message too, comes when it comes."""
    monkeypatch.setattr(limits, "BODY_IDLE_SECONDS", 0.01)
    given: list[Message] = [{"type": "http.request", "body": b"[1]"}]

    async def receive() -> Message:
        if given:
            return given.pop()
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    async def read_all(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    guard = BodyLimit(read_all, max_bytes={BodyClass.CONFIG: 9})
    asyncio.run(guard({"type": "http", "path": "/", "headers": []}, receive, receive))


AWAY = OperationalError("COMMIT", {}, Exception("the server closed the connection"))


@pytest.mark.parametrize(("error", "num_kept"), [(AWAY, 1), (ValueError("no row"), 0)])
def test_a_table_whose_row_may_be_committed_is_kept(
    app: Any, error: Exception, num_kept: int
) -> None:
    """A database that goes away during a commit does not say whether it was made."""
    context = app.state.context
    file = UploadFile(io.BytesIO(tables.flowers()), filename="flowers.csv")
    with (
        Upload(context.uploads, [file]) as upload,
        pytest.raises(type(error)),
        stored_table(context, upload, ReadOptions()),
    ):
        raise error
    assert len(context.artifacts.list("datasets")) == num_kept
