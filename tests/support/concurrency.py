"""Transactions that meet."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from sqlalchemy import text

from store.database.engine import Database


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run the actions in a thread each, from the same moment on; an error is a result too."""
    barrier = Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return action()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def transaction(
    database: Database, function: Callable[..., Any], *args: Any, **options: Any
) -> Callable[[], Any]:
    def run() -> Any:
        with database.write() as connection:
            return function(connection, *args, **options)

    return run


def is_waiting(database: Database) -> bool:
    """Whether a transaction waits for another to release its locks."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with database.read() as connection:
        return bool(connection.scalar(text(f"{query} AND wait_event_type = 'Lock'")))
