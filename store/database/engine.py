"""One database, SQLite or PostgreSQL, through the same transactions."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from store.database import postgresql
from store.errors import NewerDatabase

MIGRATIONS = Path(__file__).parent / "migrations"

_BUSY_TIMEOUT_SECONDS = 30
_RETRY_SECONDS = 0.02
_POOL_TIMEOUT_SECONDS = 5  # to wait for a free connection of the pool
_MIGRATION_LOCK = 0x64726F70  # an arbitrary number that nothing else locks

# Errors of SQLite that can pass: others write, or the disk is full, slow or unavailable. Its other
# operational errors, such as a missing table, never pass.
_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}
# SQLSTATE codes of PostgreSQL.
_DISK_FULL = "53100"
_READ_ONLY = "25006"  # a primary that has become a standby
_PRIMARY = 0xFF  # the bits of SQLite's primary result code; the others refine it


class Database:
    """Transactions on one database. Threads can share it; a forked child must make its own.

    Every statement has a timeout: a database that hangs counts as unavailable. `no_timeout` is for
    long statements, which then wait for as long as the connection stands.
    """

    def __init__(self, url: str, *, no_timeout: bool = False) -> None:
        self._url = make_url(url)
        is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = (
            _sqlite_engine(self._url) if is_sqlite else _postgresql_engine(self._url, no_timeout)
        )
        self._is_closed = False
        event.listen(self._engine, "checkin", self._close_returned)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; SQLite takes its write lock at once: no deadlock."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(sqlite_begin="IMMEDIATE")
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Bring the schema up to date. Safe to call from several processes at once.

        Raises NewerDatabase if a newer release has changed it.
        """
        url = self._url.render_as_string(hide_password=False)
        with closing(Database(url, no_timeout=True)) as database, database.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            config = _migrations()
            config.attributes["connection"] = connection
            found = MigrationContext.configure(connection).get_current_revision()
            if found is not None and found not in known_revisions():
                raise NewerDatabase(found)
            command.upgrade(config, "head")

    def ping(self) -> None:
        """Raise DBAPIError unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close the connections; one that a thread still uses is closed when it is returned."""
        self._is_closed = True
        self._engine.dispose()

    def _close_returned(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        # `dispose` forgets the connections in use, and their pool would keep them open.
        if self._is_closed:
            record.close()


def known_revisions() -> set[str]:
    """Return every revision of the schema that this release can migrate from."""
    scripts = ScriptDirectory.from_config(_migrations())
    return {script.revision for script in scripts.walk_revisions()}


def is_unavailable(error: Exception) -> bool:
    """Return whether a database error means "try again later" and not "this can never work"."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeout)
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY in _TRANSIENT
    return (
        isinstance(error, OperationalError | InterfaceError)
        or error.connection_invalidated
        or getattr(error.orig, "sqlstate", None) == _READ_ONLY
    )


def is_full(error: BaseException) -> bool:
    """Return whether the database had no disk space left."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_FULL
    return getattr(cause, "sqlstate", None) == _DISK_FULL


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _sqlite_engine(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, pool_size=20)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: URL, no_timeout: bool) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=10,
        max_overflow=20,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
    )
    connect = postgresql.connect if no_timeout else postgresql.connect_with_timeouts
    event.listen(engine, "do_connect", connect)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite begins transactions, not sqlite3
    _write_ahead(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Set WAL mode, with retries: SQLite refuses the second of two processes without waiting."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")
