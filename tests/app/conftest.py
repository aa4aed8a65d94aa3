"""One service for all tests that leave it running, and the API in this process for the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from app.main import create_app
from store.settings import Settings
from tests.support import tables
from tests.support.client import train, upload
from tests.support.in_process import TestClient
from tests.support.service import SETTINGS, Service, embedded

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of the one service, so that it is started in one process alone."""
    for item in items:
        grouped = item.get_closest_marker("xdist_group") is not None
        if HERE in item.path.parents and "service" in item.fixturenames and not grouped:
            item.add_marker(pytest.mark.xdist_group("service"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Predict with one thread, as the API does."""
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The embedded service; a test leaves it running."""
    with embedded(tmp_path_factory.mktemp("service"), **SETTINGS) as service:
        yield service


@pytest.fixture(scope="package")
def live(service: Service) -> httpx.Client:
    """Calls the embedded service."""
    return service.client


@pytest.fixture(scope="package")
def flowers(live: httpx.Client) -> dict[str, Any]:
    """A dataset of three kinds of flowers: two lengths, and a label of words."""
    return upload(live, tables.flowers(), data={"name": "flowers"})


@pytest.fixture(scope="package")
def flower_job(live: httpx.Client, flowers: dict[str, Any]) -> dict[str, Any]:
    """A job that has succeeded."""
    return train(
        live,
        flowers["id"],
        "label",
        name="flowers",
        model={"hidden": [16, 16], "hidden_dropout": [0.1, 0.2]},
        training={"epochs": 12, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.02}},
        metadata={"team": "garden"},
    )


@pytest.fixture(scope="package")
def flower_model(live: httpx.Client, flower_job: dict[str, Any]) -> dict[str, Any]:
    """A model that tells three kinds of flowers."""
    answer: dict[str, Any] = live.get(f"/v1/models/{flower_job['model']}").json()
    return answer


@pytest.fixture(scope="package")
def people(live: httpx.Client) -> dict[str, Any]:
    """A dataset with a column of every kind."""
    return upload(live, tables.people(), data={"name": "people"})


@pytest.fixture(scope="package")
def people_model(live: httpx.Client, people: dict[str, Any]) -> dict[str, Any]:
    """A model that predicts who leaves, cross-validated in two folds."""
    job = train(
        live,
        people["id"],
        "leaves",
        dataset={"split": {"kind": "stratified", "test": 0.2, "folds": 2}},
        model={"hidden": [16]},
        training={"epochs": 20, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.02}},
    )
    answer: dict[str, Any] = live.get(f"/v1/models/{job['model']}").json()
    return answer


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings on a database of the test's own: the test runs once on each kind."""
    return Settings(data_dir=tmp_path / "data", database_url=database_url, **SETTINGS)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Calls the API alone, without a worker; once on each kind of database."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def sqlite_client(sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """Calls the API alone, for what does not depend on the kind of database."""
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, **SETTINGS)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
