"""Whoever asks for much, or says nothing, keeps nobody else waiting."""

import asyncio
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.types import Message, Receive, Scope, Send

from app.context import SLOT
from app.datasets.service import stored_table
from app.http import limits, slots
from app.http.errors import MAX_FLAWS
from app.http.limits import BodyLimit, BodyTooSlow
from app.http.routes import BodyClass
from app.http.security import Caller
from app.http.uploads import Upload
from app.inference.schemas import EvaluateRequest, ImportanceRequest
from app.jobs.schemas import CancelRequest
from app.main import create_app
from app.names.schemas import AliasRequest
from dropout_core.data.read_options import ReadOptions
from store.job_spec import JobSpec
from store.settings import Settings
from tests.support import tables
from tests.support.in_process import TestClient
from tests.support.problems import assert_error, assert_problem
from tests.support.service import SETTINGS


def test_a_slot_is_free_again_while_the_answer_is_read() -> None:
    app = FastAPI()
    shared = slots.Slots()
    others = [f"tenant {number}" for number in range(slots.NUM_SLOTS)]

    @app.middleware("http")
    async def know_the_caller(request: Request, go_on: Any) -> Any:
        request.state.caller = Caller("a tenant", frozenset(), None, "")
        return await go_on(request)

    @app.get("/", dependencies=[SLOT])
    async def endpoint() -> StreamingResponse:
        async def content() -> AsyncIterator[str]:
            for other in others:
                await shared.acquire(other)
            yield "all slots are free"

        return StreamingResponse(content())

    app.state.context = SimpleNamespace(slots=shared)
    assert TestClient(app).get("/").text == "all slots are free"


JSON = {"Content-Type": "application/json"}


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


MANY = {f"f{n}": 0 for n in range(200_000)}
FLOODS: list[tuple[str, dict[str, Any]]] = [
    ("", MANY),
    ("", {"model": MANY}),
    ("", {"model": {"hidden": [""] * 500_000}}),
    ("", {"model": {"hidden_dropout": [{"p": 9}] * 9_000}}),
    ("", {"model": {"hidden_dropout": [MANY]}}),
    ("", {"training": {"optimizer": {"betas": [""] * 500_000}}}),
    ("", {"metadata": {f"f{n}": 0 for n in range(90)}}),
    ("dataset", {"features": [1] * 50_000}),
    ("dataset", {"features": [[]] * 500_000}),
    ("dataset", {"target": [1] * 50_000}),
    ("dataset", {"types": MANY}),
    ("dataset", {"types": {f"f{n}": 0 for n in range(90_000)}}),
    ("dataset", {f"f{n}": 0 for n in range(90)}),
    ("dataset", {"split": {"kind": "k" * 1_000_000}}),
]


def test_the_cost_of_refusing_a_job_is_that_of_the_answer(app: Any) -> None:
    with TestClient(app) as client:
        for where, values in FLOODS:
            job: dict[str, Any] = {"dataset": {"id": "ds_1", "target": "y"}}
            (job[where] if where else job).update(values)
            content = json.dumps(job, separators=(",", ":")).encode()
            assert len(content) < 4 * 1024**2
            tracemalloc.start()
            try:
                answer = client.post("/v1/jobs", content=content, headers=JSON)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert_problem(answer, 422, "invalid_request")
            assert peak < 20 * len(content) + 2_000_000, (where, values.keys())
            assert 0 < len(answer.json()["errors"]) <= MAX_FLAWS
            assert len(answer.content) < 30_000


CONFIGS = [
    *("/v1/models/m/evaluate", "/v1/models/m/importance", "/v2/repository/index"),
    *("/v2/repository/models/m/load", "/v2/repository/models/m/unload"),
]


def test_other_configs_are_as_cheap_to_refuse(app: Any) -> None:
    content = json.dumps({f"f{n}": 0 for n in range(20_000)}).encode()
    with TestClient(app) as client:
        for path in CONFIGS:
            answer = client.post(path, content=content, headers=JSON)
            assert_error(answer, 422, "invalid_request")
            assert "20000 entries are too many" in answer.text
            assert len(answer.content) < 1_000
            assert client.post(path, content=content * 2, headers=JSON).status_code == 413


SCHEMAS = [JobSpec, ReadOptions, EvaluateRequest, ImportanceRequest, AliasRequest, CancelRequest]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_config_stops_at_its_first_wrong_entry(schema: type[BaseModel]) -> None:
    """A field that holds several values has `fail_fast=True`.

    Of any JSON no entry is wrong.
    """
    not_read = ("default", "metadata", "serialization", "json_schema_input_schema")
    found: list[Any] = [schema.__pydantic_core_schema__]
    while found:
        part = found.pop()
        if isinstance(part, dict):
            if str(part.get("ref", "")).startswith("pydantic.types.JsonValue"):
                continue
            if part.get("type") in ("dict", "list", "tuple", "set", "frozenset"):
                fixed = part["type"] == "tuple" and "variadic_item_index" not in part
                assert fixed or part.get("fail_fast"), part
            found += [inner for name, inner in part.items() if name not in not_read]
        elif isinstance(part, list | tuple):
            found += part


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


@pytest.mark.parametrize("size", [1, 100])
def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A byte now and then is no progress; parts of some size are."""
    monkeypatch.setattr(limits, "BODY_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "MIN_RECEIVED_BYTES", 100)
    num_left = 60

    async def receive() -> Message:
        nonlocal num_left
        num_left -= 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x" * size, "more_body": num_left > 0}

    async def read_all(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["more_body"]:
            pass

    guard = BodyLimit(read_all, max_bytes={BodyClass.CONFIG: 10_000})
    expected = pytest.raises(BodyTooSlow) if size == 1 else nullcontext()
    with expected:
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
        stored_table(context, upload, ReadOptions(), tenant="a tenant"),
    ):
        raise error
    assert len(context.artifacts.list("datasets")) == num_kept
