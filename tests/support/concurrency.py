"""Transactions that run at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from sqlalchemy import text

from store.database.engine import Database


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Start each action in its own thread at once, and return their results or exceptions."""
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
    """Return whether a transaction waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with database.read() as connection:
        return bool(connection.scalar(text(f"{query} AND wait_event_type = 'Lock'")))
