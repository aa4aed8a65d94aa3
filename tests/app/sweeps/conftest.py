"""The API in this process, once for all tests that leave its data as it is."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.main import create_app
from store.settings import Settings
from tests.support import tables
from tests.support.client import upload
from tests.support.in_process import TestClient
from tests.support.service import SETTINGS


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("sweeps"), **SETTINGS, max_trials=100)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="package")
def base_job(api: TestClient) -> dict[str, Any]:
    """The job that predicts the kind of a flower, with rows to validate on."""
    dataset = upload(api, tables.flowers())
    return {"dataset": {"id": dataset["id"], "target": "label"}, "training": {"epochs": 16}}
