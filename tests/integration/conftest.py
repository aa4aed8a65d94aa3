from collections.abc import Iterator

import pytest

from tests.support import service
from tests.support.collector import Collector
from tests.support.service import SETTINGS, Service


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Collects the traces of the embedded service."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="package")
def embedded_service(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Service]:
    """The embedded default. A test that kills a part of it finds it whole again."""
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        variables.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        folder = tmp_path_factory.mktemp("embedded")
        options = {"checkpoint_seconds": 0, "trusted_proxies": "127.0.0.1"}
        with service.embedded(folder, **SETTINGS, **options) as embedded:
            yield embedded
