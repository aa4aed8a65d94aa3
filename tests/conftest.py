"""Real servers for the whole run, and databases of each test's own.

The process that was called `pytest` starts the servers once, and the variables TEST_REDIS_URL and
TEST_DATABASE_URL hold their addresses. Set one of them to use a server of yours.
"""

import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from benchmarks.run_folder import RunFolder
from store.database.engine import Database
from store.operations.gc_freeze import frozen_imports
from tests.support import service
from tests.support.databases import EMPTY, execute, new_postgresql
from tests.support.processes import warm_trainer_server
from tests.support.servers import SERVERS, PostgresServer, RedisServer, S3Server
from tests.support.service import Service
from tests.support.worker_examples import SHORT_LEASES, Result, run_uninterrupted

RUNNING = pytest.StashKey[subprocess.Popen[str]]()
RUN_FOLDER = pytest.StashKey[RunFolder]()

MAX_ID_LENGTH = 80

# torch and onnxruntime keep these for the next process.
LIBRARY_CACHES = {f"torchinductor_{getpass.getuser()}", ".ses"}


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    # The folders of tests stay where pytest keeps the last three.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[RUN_FOLDER] = RunFolder().__enter__()
    missing = [name for name in SERVERS if name not in os.environ]
    if not missing:
        return
    process = config.stash[RUNNING] = subprocess.Popen(
        [sys.executable, "-m", "tests.support.servers", *missing],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise pytest.UsageError("the servers for the tests did not start")
    os.environ.update(json.loads(line))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Fail a run that leaves a process or a temporary file behind.

    Only where the tests ran in other processes, which have ended: this one has not.
    """
    result = yield
    config = session.config
    if RUN_FOLDER in config.stash and config.getoption("numprocesses", default=None):
        _end_servers(config)
        left = config.stash[RUN_FOLDER].close()
        del config.stash[RUN_FOLDER]
        for what in (*left.processes, *(set(left.files) - LIBRARY_CACHES)):
            sys.stderr.write(f"\nleft behind by the tests: {what}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    _end_servers(config)


def _end_servers(config: pytest.Config) -> None:
    process = config.stash.get(RUNNING, None)
    if process is not None and process.poll() is None:
        process.communicate()  # ends its standard input, and it ends the servers


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with frozen_imports():
        return (yield)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its length: processes send each other the ids of tests, many times."""
    if isinstance(val, bytes | str) and len(val) > MAX_ID_LENGTH:
        return f"{argname}_of_{len(val)}"
    return None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check that each grouped test runs with its group, whose services would start anew for it."""
    if not session.config.getoption("loadgroup", default=False):
        return
    for item in session.items:
        grouped = item.get_closest_marker("xdist_group") is not None
        assert grouped == ("@" in item.nodeid.rpartition("]")[2]), f"{item.nodeid} has no group"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of the test's own: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of the test's own: the test runs once on each kind."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of a migrated SQLite database of the test's own."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'dropout.db')}"


@pytest.fixture
def postgresql_url(postgresql_database: str) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of the test's own, whose tables are to stay."""
    yield postgresql_database
    execute(postgresql_database, EMPTY)


@pytest.fixture
def empty_postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own, in which there is nothing."""
    with new_postgresql() as url:
        yield url


@pytest.fixture
def redis_url() -> str:
    """The URL of an empty Redis database that no test running beside this one uses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    server = urlsplit(os.environ["TEST_REDIS_URL"])
    url = server._replace(path=f"/{worker}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may stop and start again."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop and start again; its database is empty."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The S3 of all tests that need one."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 of all tests, as the environment of this process and its children names it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def own_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 that the test may stop and start again, named by the environment as `s3` is."""
    with S3Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def broker() -> Iterator[RedisServer]:
    """The Redis of scaled-out services, which tests stop and start again."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def scaled_out(tmp_path_factory: pytest.TempPathFactory, broker: RedisServer) -> Iterator[Service]:
    """The scaled-out service, with one worker, for the tests of the group `services`."""
    folder = tmp_path_factory.mktemp("scaled-out")
    with new_postgresql() as database_url:
        servers = {"database_url": database_url, "redis_url": broker.url}
        # Nothing waits for one of its leases.
        settings = {**SHORT_LEASES, "lease_seconds": 30, "fence_seconds": 20}
        with service.scaled_out(folder, **settings, **servers) as scaled_out:
            yield scaled_out


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The result of the job of `worker_examples` if nothing disturbs it."""
    warm_trainer_server()
    return run_uninterrupted(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[str]:
    """The URL of a migrated database, for one test after the other: a new one takes 0.1 s."""
    with new_postgresql() as url:
        _migrate(url)
        yield url


def _migrate(url: str) -> None:
    with closing(Database(url)) as database:
        database.migrate()
