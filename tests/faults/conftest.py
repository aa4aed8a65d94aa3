"""How often each fault is tried, and the services that it is tried on.

`make test` tries some of the faults once; `make test-faults` sets FAULTS, tries all of them that
often, at other moments every time, and prints a table. FAULTS_SEED repeats the moments of a test
that failed.
"""

import os
import random
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.faults import figures
from tests.faults.stand import LONGER_EPOCHS, Stand, standing
from tests.support.databases import new_postgresql
from tests.support.servers import RedisServer
from tests.support.service import embedded, scaled_out
from tests.support.worker_examples import SHORT_LEASES, Result, run_uninterrupted

SHAPES = ("embedded", "scaled_out")


@pytest.fixture(scope="package")
def num_runs() -> int:
    """How often a test tries its fault."""
    return int(os.environ.get("FAULTS", "1"))


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The generator of a test's moments; its seed is printed where the test fails."""
    drawn = str(secrets.randbits(32)) if "FAULTS" in os.environ else "0"
    chosen = os.environ.get("FAULTS_SEED", drawn)
    print(f"FAULTS_SEED={chosen}")  # noqa: T201
    return random.Random(f"{chosen} {request.node.name}")


@pytest.fixture(scope="package")
def record_fault() -> Callable[..., None]:
    """Writes down a fault: its name, how often it was tried, and the figures."""
    return figures.record


@pytest.fixture(scope="package")
def longer_uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The result of a job of LONGER_EPOCHS if nothing disturbs it."""
    return run_uninterrupted(tmp_path_factory.mktemp("longer"), epochs=LONGER_EPOCHS)


@pytest.fixture(scope="package")
def embedded_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The embedded service; the test that breaks it heals it."""
    folder = tmp_path_factory.mktemp("embedded-stand")
    with standing(embedded(folder, **SHORT_LEASES)) as stand:
        yield stand


@pytest.fixture(scope="package")
def scaled_out_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """API, dispatcher and two workers; the test that breaks them heals them."""
    folder = tmp_path_factory.mktemp("scaled-out-stand")
    with new_postgresql() as url, RedisServer() as redis:
        servers = {"database_url": url, "redis_url": redis.url}
        with standing(scaled_out(folder, num_workers=2, **SHORT_LEASES, **servers)) as stand:
            yield stand


@pytest.fixture
def shape(request: pytest.FixtureRequest) -> str:
    """The shape that the test's stand has."""
    return str(request.node.callspec.params["stand"])


@pytest.fixture(params=SHAPES)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    """The service, whole: the test runs once on each shape."""
    stand: Stand = request.getfixturevalue(f"{request.param}_stand")
    yield stand
    stand.system.heal()
