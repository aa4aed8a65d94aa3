from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from store.database import Database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction that may write, committed when the test is over; once on each kind."""
    with database.write() as connection:
        yield connection
