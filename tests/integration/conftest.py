from collections.abc import Iterator

import pytest

from tests.support.collector import Collector
from tests.support.scaled_out import ScaledOut, new_postgresql
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.worker_examples import Result, run_uninterrupted


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a job comes to if nothing happens to it."""
    return run_uninterrupted(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Who is told the traces of the embedded service."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def embedded_service(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Service]:
    """The embedded default. A test that kills a part of it finds it whole again."""
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        variables.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with Service(tmp_path_factory.mktemp("embedded") / "data", checkpoint_seconds=0) as service:
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
