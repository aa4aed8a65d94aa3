import asyncio
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.http.security import ANYBODY
from app.jobs import stream
from app.main import create_app
from store.access import keys
from store.database.engine import Database
from store.errors import QuotaExceeded
from store.settings import Settings
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem
from tests.support.store_examples import new_key


def queued_job(client: httpx.Client) -> str:
    dataset = upload(client, tables.flowers())
    job_id: str = submit(client, dataset["id"], "label")["id"]
    return job_id


def test_a_tenant_may_have_so_many_streams_and_no_more(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 1)
    app = create_app(Settings(data_dir=tmp_path / "data", database_url=sqlite_url))
    with TestClient(app) as client:
        job_id = queued_job(client)

    async def watch() -> None:
        events = stream.stream(app.state.context, job_id, caller=ANYBODY, after=0)
        stream.require_free_stream("default")
        assert b"queued" in await anext(events)
        with pytest.raises(QuotaExceeded, match="1 event streams"):
            stream.require_free_stream("default")
        stream.require_free_stream("another")
        await events.aclose()  # type: ignore[attr-defined]
        stream.require_free_stream("default")

    asyncio.run(watch())


def test_a_stream_too_many_is_429(
    sqlite_client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/jobs/{queued_job(sqlite_client)}/events"
    monkeypatch.setattr(stream, "MAX_STREAMS", 0)
    response = sqlite_client.get(path, headers={"Accept": "text/event-stream"})
    assert_problem(response, 429, "quota_exceeded")
    assert response.headers["retry-after"]
    assert sqlite_client.get(path).status_code == 200


def test_a_stream_ends_with_its_key(database: Database, settings: Settings) -> None:
    """To be resumed by whoever has another."""
    app = create_app(settings)
    with TestClient(app) as client:
        job_id = queued_job(client)
    with database.write() as transaction:
        token = new_key(transaction)
    keyring = app.state.context.keyring

    async def watch() -> int:
        caller = await keyring.caller(token)
        events = stream.stream(app.state.context, job_id, caller=caller, after=0)
        assert b"queued" in await anext(events)
        with database.write() as transaction:
            keys.revoke(transaction, keys.all_keys(transaction)[0].id)
        return len([event async for event in events])

    with closing(app.state.context.database):
        assert asyncio.run(asyncio.wait_for(watch(), 20)) == 0
