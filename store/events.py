"""A job's events in order, numbered from 1.

Retention deletes the epoch events of jobs that ended long ago, which leaves gaps in the numbers:
see store/operations/retention.py.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.database.tables import database_now, events


@dataclass(frozen=True)
class Event:
    """A row. `type` is the state that the job entered, `requeued`, `step`, `warning` or `epoch`."""

    job_id: str
    sequence: int
    type: str
    data: dict[str, Any]
    created_at: float


def append(
    connection: Connection,
    job_id: str,
    *,
    sequence: int,
    event_type: str,
    data: dict[str, Any],
) -> None:
    """Insert an event, whose number comes from the update of the job's row in this transaction."""
    connection.execute(
        insert(events).values(
            job_id=job_id, sequence=sequence, type=event_type, data=data, created_at=database_now()
        )
    )


def append_all(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert events of different jobs: rows with `job_id`, `sequence`, `type` and `data`."""
    connection.execute(insert(events).values(created_at=database_now()), rows)


def page(connection: Connection, job_id: str, *, after: int, limit: int) -> list[Event]:
    """Return up to `limit` events numbered above `after`, oldest first."""
    query = (
        select(events)
        .where(events.c.job_id == job_id, events.c.sequence > after)
        .order_by(events.c.sequence)
        .limit(limit)
    )
    return [Event(**row) for row in connection.execute(query).mappings()]


def paused_seconds(connection: Connection, job_ids: Collection[str]) -> dict[str, float]:
    """Return how long jobs have been paused since they first ran, until they ran again."""
    query = (
        select(events.c.job_id, events.c.type, events.c.created_at)
        .where(events.c.job_id.in_(job_ids), events.c.type.in_(("running", "paused")))
        .order_by(events.c.job_id, events.c.sequence)
    )
    seconds = dict.fromkeys(job_ids, 0.0)
    has_run: set[str] = set()
    paused_at: dict[str, float] = {}
    for job_id, event_type, created_at in connection.execute(query):
        if event_type == "running":
            has_run.add(job_id)
            seconds[job_id] += max(0.0, created_at - paused_at.pop(job_id, created_at))
        elif job_id in has_run:
            paused_at[job_id] = created_at
    return seconds
