import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database, is_unavailable
from store.database.tables import idempotency_keys, metadata
from tests.support.concurrency import at_once, transaction
from tests.support.servers import PostgresServer
from tests.support.store_examples import new_job


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that holds nothing yet, once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'new.db'}"
    url: str = request.getfixturevalue("empty_postgresql_url")
    return url


def migrate(url: str) -> None:
    with closing(Database(url)) as database:
        database.migrate()


def create_jobs(url: str, num_jobs: int) -> list[str]:
    ids = []
    with closing(Database(url)) as database:
        for _ in range(num_jobs):
            with database.write() as connection:
                ids.append(new_job(connection).id)
    return ids


def test_the_migrations_make_the_tables_as_the_code_describes_them(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(database: Database, database_url: str) -> None:
    [job_id] = create_jobs(database_url, 1)
    database.migrate()
    with database.read() as connection:
        assert jobs.get(connection, job_id, tenant=DEFAULT_TENANT).state == "queued"


def test_processes_may_migrate_a_new_database_at_once(
    empty_url: str, processes: ProcessPoolExecutor
) -> None:
    list(processes.map(migrate, [empty_url] * 6))
    assert len(create_jobs(empty_url, 1)) == 1


def test_threads_may_migrate_a_new_database_at_once(empty_url: str) -> None:
    assert at_once(*[lambda: migrate(empty_url)] * 6) == [None] * 6
    with closing(Database(empty_url)) as database, database.read() as connection:
        assert set(metadata.tables) < set(inspect(connection).get_table_names())


def test_writers_wait_for_each_other(database_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(create_jobs, [database_url] * 8, [15] * 8))
    created = [job_id for part in parts for job_id in part]
    with closing(Database(database_url)) as database, database.read() as connection:
        assert jobs.claimable(connection, limit=1000) == sorted(created)


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writing:
        new_job(writing)
        with database.read() as reading:
            assert jobs.claimable(reading, limit=9) == []


def test_a_writer_does_not_wait_for_readers(empty_url: str) -> None:
    migrate(empty_url)
    with closing(Database(empty_url)) as database, database.read() as reading:
        assert jobs.claimable(reading, limit=9) == []
        [job_id] = create_jobs(empty_url, 1)
        with database.read() as reading_later:
            assert jobs.claimable(reading_later, limit=9) == [job_id]


def test_a_write_is_undone_by_an_error(database: Database) -> None:
    def create_and_fail(connection: Connection) -> None:
        new_job(connection)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        transaction(database, create_and_fail)()
    with database.write() as connection:
        assert jobs.claimable(connection, limit=9) == []


def test_a_server_that_is_gone_is_unavailable_and_its_return_is_noticed(
    own_postgresql: PostgresServer,
) -> None:
    with closing(Database(own_postgresql.url)) as database:
        database.ping()
        own_postgresql.stop()
        with pytest.raises(DBAPIError) as caught:
            database.ping()
        assert is_unavailable(caught.value)
        own_postgresql.start()
        database.ping()


def test_a_server_that_goes_in_the_middle_of_a_transaction_is_unavailable(
    own_postgresql: PostgresServer,
) -> None:
    with closing(Database(own_postgresql.url)) as database:

        def ask_after_the_end(connection: Connection) -> None:
            own_postgresql.stop()
            connection.execute(text("SELECT 1"))

        with pytest.raises(DBAPIError) as caught:
            transaction(database, ask_after_the_end)()
        assert is_unavailable(caught.value)


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path}")) as database:
        with pytest.raises(DBAPIError) as caught:
            database.ping()
        assert is_unavailable(caught.value)


def test_a_database_that_another_writes_is_unavailable(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database, closing(Database(sqlite_url)) as other:

        def write_at_once(connection: Connection) -> None:
            connection.execute(text("PRAGMA busy_timeout = 0"))
            new_job(connection)

        with other.write(), pytest.raises(DBAPIError) as caught, database.read() as connection:
            write_at_once(connection)
        assert is_unavailable(caught.value)


def test_a_full_disk_is_unavailable(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database:

        def write_more(connection: Connection) -> None:
            connection.execute(text("PRAGMA max_page_count = 1"))  # as many as there are
            connection.execute(text("CREATE TABLE more (content BLOB)"))
            connection.execute(text("INSERT INTO more VALUES (zeroblob(1000000))"))

        with pytest.raises(DBAPIError) as caught:
            transaction(database, write_more)()
        assert is_unavailable(caught.value)


def test_a_statement_has_a_timeout_unless_the_database_has_none(postgresql_url: str) -> None:
    def limit(url: str, *, no_timeout: bool = False) -> object:
        with (
            closing(Database(url, no_timeout=no_timeout)) as database,
            database.read() as connection,
        ):
            return connection.scalar(text("SHOW statement_timeout"))

    assert limit(postgresql_url) == "10s"
    assert limit(f"{postgresql_url}&options=-c statement_timeout=5s") == "5s"
    assert limit(postgresql_url, no_timeout=True) == "0"


def test_a_broken_rule_is_not_a_reason_to_try_again(database: Database) -> None:
    query = insert(idempotency_keys).values(key="key", request_sha256="", created_at=0)
    with database.write() as connection:
        connection.execute(query)
    with pytest.raises(IntegrityError) as caught, database.write() as connection:
        connection.execute(query)
    assert not is_unavailable(caught.value)


def test_bad_sql_is_not_a_reason_to_try_again(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught, database.read() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert not is_unavailable(caught.value)


def test_a_deleted_job_takes_its_rows_along(database: Database, database_url: str) -> None:
    [job_id] = create_jobs(database_url, 1)
    with database.write() as connection:
        jobs.cancel(connection, job_id, tenant=DEFAULT_TENANT)
        jobs.remove(connection, job_id, tenant=DEFAULT_TENANT)
        assert connection.scalar(text("SELECT count(*) FROM events")) == 0


def test_a_connection_that_is_in_use_when_its_database_closes_is_closed_once_returned(
    database_url: str,
) -> None:
    database = Database(database_url)
    with database.read() as connection:
        driver_connection = connection.connection.driver_connection
        database.close()
        assert connection.execute(text("SELECT 1")).scalar() == 1
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver_connection.execute("SELECT 1")  # type: ignore[union-attr]
