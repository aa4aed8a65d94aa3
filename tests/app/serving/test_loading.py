"""Models are loaded once, kept within bounds, and found by what their names stand for."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.serving import model_server
from app.serving.predictors import OVERHEAD_BYTES, Predictors
from dropout_core.model.predictor import Predictor
from store import model_names
from store.access.keys import DEFAULT_TENANT
from store.errors import ModelNotFound
from store.settings import Settings
from tests.support.in_process import TestClient, context_of
from tests.support.named_models import PRODUCTION, ROWS, new_version
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No model is loaded until it is set."""
    opened, load = threading.Event(), Predictor.load

    def wait(folder: Path, **options: Any) -> Predictor:
        assert opened.wait(30)
        return load(folder, **options)

    monkeypatch.setattr(Predictor, "load", wait)
    yield opened
    opened.set()


def test_a_model_is_loaded_once_for_all_who_ask(
    sqlite_client: TestClient, gate: threading.Event
) -> None:
    predictors, model = context_of(sqlite_client).predictors, new_version(sqlite_client)
    first, *others = [predictors.load(model) for _ in range(4)]
    assert all(other is first for other in others)
    gate.set()
    assert predictors.get(model) is first.result()


def test_the_model_that_was_asked_for_the_longest_ago_makes_room(sqlite_client: TestClient) -> None:
    models = [new_version(sqlite_client) for _ in range(3)]
    size_bytes = models[0].size_bytes + OVERHEAD_BYTES
    artifacts = context_of(sqlite_client).artifacts
    predictors = Predictors(artifacts, max_bytes=2 * size_bytes)
    for model in (models[0], models[1], models[0], models[2]):
        predictors.get(model)
    kept = [predictors.loaded(model.id) is not None for model in models]
    assert kept == [True, False, True]
    assert predictors.fitting(models) == models[:2]


def test_a_model_that_is_loading_is_asked_for_again(
    sqlite_client: TestClient, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_server, "LOAD_SECONDS", 0.01)
    model = new_version(sqlite_client)
    refused = sqlite_client.post(f"/v1/models/{model.id}/predict", json=ROWS)
    assert_problem(refused, 503, "model_loading")
    assert int(refused.headers["retry-after"]) > 0
    gate.set()
    context_of(sqlite_client).predictors.get(model)
    assert sqlite_client.post(f"/v1/models/{model.id}/predict", json=ROWS).status_code == 200


def test_what_an_alias_stands_for_is_loaded_before_a_process_answers(
    sqlite_client: TestClient,
) -> None:
    model, other = new_version(sqlite_client), new_version(sqlite_client)
    sqlite_client.put(PRODUCTION, json={"version": 1})
    settings: Settings = context_of(sqlite_client).settings
    with TestClient(create_app(settings)) as client:
        loaded = context_of(client).predictors.loaded
        assert loaded(model.id) is not None
        assert loaded(other.id) is None


def test_an_alias_that_another_process_moved_is_followed(sqlite_client: TestClient) -> None:
    made = [new_version(sqlite_client) for _ in range(2)]
    sqlite_client.put(PRODUCTION, json={"version": 1})

    def answering() -> str:
        answer = sqlite_client.post("/v1/models/flowers/predict", json=ROWS)
        model: str = answer.json()["model"]
        return model

    assert answering() == made[0].id
    with context_of(sqlite_client).database.write() as transaction:
        model_names.set_alias(
            transaction, "flowers", "production", version=2, tenant=DEFAULT_TENANT
        )
    wait_until(lambda: answering() == made[1].id)


def test_what_one_tenant_asked_for_is_not_anothers(sqlite_client: TestClient) -> None:
    server, model = context_of(sqlite_client).model_server, new_version(sqlite_client)

    async def ask() -> None:
        for reference in (model.id, "flowers", "flowers@1"):
            assert (await server.find(reference, tenant=DEFAULT_TENANT)).model == model
            with pytest.raises(ModelNotFound):
                await server.find(reference, tenant="stranger")

    asyncio.run(ask())


def test_requests_follow_an_alias_from_one_to_the_next(sqlite_client: TestClient) -> None:
    made = {version: new_version(sqlite_client).id for version in (1, 2)}

    def answering() -> set[str]:
        paths = ("/v1/models/flowers/predict", "/v1/models/flowers@production/predict")
        return {sqlite_client.post(path, json=ROWS).json()["model"] for path in paths}

    for version in (1, 2, 1):
        sqlite_client.put(PRODUCTION, json={"version": version}).raise_for_status()
        assert answering() == {made[version]}
    sqlite_client.delete(PRODUCTION).raise_for_status()
    newest = sqlite_client.post("/v1/models/flowers/predict", json=ROWS).json()["model"]
    assert newest == made[2]
    gone = sqlite_client.post("/v1/models/flowers@production/predict", json=ROWS)
    assert_problem(gone, 404, "model_not_found")
