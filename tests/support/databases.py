"""Databases of a test's own on the PostgreSQL that all tests share."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url

from store.database.tables import metadata

# End all other connections, and delete all rows.
EMPTY = ";".join(
    [
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)),
    ]
)


@contextmanager
def new_postgresql() -> Iterator[str]:
    """Make an empty database, give its URL, and drop it at the end of the block."""
    name = f"test_{uuid.uuid4().hex}"
    server = os.environ["TEST_DATABASE_URL"]
    execute(server, f"CREATE DATABASE {name}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
