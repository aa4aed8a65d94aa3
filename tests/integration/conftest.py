from collections.abc import Iterator

import pytest

from tests.integration.services import Embedded, ScaledOut, embedded, new_postgresql
from tests.servers import RedisServer
from tests.worker.examples import Result, run_uninterrupted


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a job comes to if nothing happens to it."""
    return run_uninterrupted(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="session")
def embedded_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded default. A test that kills a part of it finds it whole again."""
    with embedded(tmp_path_factory.mktemp("embedded")) as service:
        yield service


@pytest.fixture(scope="session")
def scaled_out(
    tmp_path_factory: pytest.TempPathFactory, broker: RedisServer
) -> Iterator[ScaledOut]:
    """The scaled-out service, with one worker. A test that ends that starts another."""
    folder = tmp_path_factory.mktemp("scaled-out")
    with (
        new_postgresql() as database_url,
        ScaledOut(folder, database_url=database_url, redis_url=broker.url) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def broker() -> Iterator[RedisServer]:
    """The Redis of the scaled-out service alone."""
    with RedisServer() as server:
        yield server
