"""A job's events: what happened to it, in order, counted from 1.

Of a job that has been over for long the epochs' events are gone, and the numbers of the others have
gaps where they were; see store/operations/retention.py.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.database.tables import database_now, events


@dataclass(frozen=True)
class Event:
    """`type` is the state that the job entered, `requeued`, or `epoch`."""

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
    """Add the event that the update of the job's row, in this transaction, has numbered."""
    connection.execute(
        insert(events).values(
            job_id=job_id, sequence=sequence, type=event_type, data=data, created_at=database_now()
        )
    )


def page(connection: Connection, job_id: str, *, after: int, limit: int) -> list[Event]:
    """Up to `limit` events numbered above `after`, oldest first."""
    query = (
        select(events)
        .where(events.c.job_id == job_id, events.c.sequence > after)
        .order_by(events.c.sequence)
        .limit(limit)
    )
    return [Event(**row) for row in connection.execute(query).mappings()]
