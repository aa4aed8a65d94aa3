from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from sqlalchemy import Connection

from store.database.engine import Database


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three other processes, which share no memory with this one."""
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction that may write, committed when the test is over; once on each kind."""
    with database.write() as connection:
        yield connection
