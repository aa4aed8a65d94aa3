"""Real servers for the whole run, and databases of each test's own.

The servers are started once, by the process that was called `pytest`, and found by all through the
variables TEST_REDIS_URL and TEST_DATABASE_URL. Set one of them to use a server of yours.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from sqlalchemy import make_url

from store.database.engine import Database
from store.database.tables import metadata
from store.operations.gc_freeze import frozen_imports
from tests.support.servers import SERVERS, PostgresServer, RedisServer, S3Server

RUNNING = pytest.StashKey[subprocess.Popen[str]]()

# Leaves a database without rows, and without whoever is still connected.
EMPTY = ";".join(
    [
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)),
    ]
)


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in SERVERS if name not in os.environ]
    if not missing or hasattr(config, "workerinput"):
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with frozen_imports():
        return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Services that a group of tests shares would be started for each of them otherwise."""
    if not session.config.getoption("loadgroup", default=False):
        return
    for item in session.items:
        grouped = item.get_closest_marker("xdist_group") is not None
        assert grouped == ("@" in item.nodeid.rpartition("]")[2]), f"{item.nodeid} has no group"


def pytest_unconfigure(config: pytest.Config) -> None:
    process = config.stash.get(RUNNING, None)
    if process is not None:
        process.communicate()  # ends its standard input, and it ends the servers


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
    yield _postgresql_url(postgresql_database)
    _execute(EMPTY, name=postgresql_database)


@pytest.fixture
def empty_postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own, in which there is nothing."""
    with _new_database() as name:
        yield _postgresql_url(name)


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
    """Whose clients, in this process and below, find it by their environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def own_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 that the test may stop and start again, and that clients find as they do `s3`."""
    with S3Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[str]:
    """The name of a migrated database, for one test after the other: a new one takes 0.1 s."""
    with _new_database() as name:
        _migrate(_postgresql_url(name))
        yield name


def _migrate(url: str) -> None:
    with closing(Database(url)) as database:
        database.migrate()


@contextmanager
def _new_database() -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    _execute(f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        _execute(f"DROP DATABASE {name} WITH (FORCE)")


def _postgresql_url(name: str) -> str:
    server = make_url(os.environ["TEST_DATABASE_URL"])
    return server.set(database=name).render_as_string(hide_password=False)


def _execute(statement: str, *, name: str | None = None) -> None:
    """On the database of this name, or else the server's own."""
    server = make_url(os.environ["TEST_DATABASE_URL"]).set(drivername="postgresql", database=name)
    url = server.render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
