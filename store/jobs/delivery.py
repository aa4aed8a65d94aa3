"""Queries for the jobs that are due, and for those of them that need a message."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from store.access import quotas
from store.database.tables import database_now, jobs


def claimable(
    connection: Connection,
    *,
    limit: int,
    queue: str | None = None,
    max_running: int | None = None,
) -> list[str]:
    """Return the ids of due jobs, of one queue or of all, oldest first.

    `max_running` leaves out jobs that would exceed their tenant's running limit.
    """
    due = (jobs.c.state == "queued") & (jobs.c.run_after <= database_now())
    query = select(jobs.c.id).where(due).order_by(jobs.c.id).limit(limit)
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    if max_running is not None:
        query = query.where(quotas.within_running_limit(max_running))
    return list(connection.execute(query).scalars())


def due_for_dispatch(
    connection: Connection,
    *,
    redispatch_seconds: float,
    limit: int,
    queue: str | None = None,
    due_for_seconds: float = 0,
    max_running: int | None = None,
) -> list[tuple[str, str]]:
    """Return (id, queue) of jobs that are due for `due_for_seconds` and were not dispatched within
    `redispatch_seconds`, of one queue or of all, oldest first.

    `max_running` leaves out jobs that would exceed their tenant's running limit.
    """
    message_expired = jobs.c.dispatched_at < database_now() - redispatch_seconds
    query = (
        select(jobs.c.id, jobs.c.queue)
        .where(
            jobs.c.state == "queued",
            jobs.c.run_after <= database_now() - due_for_seconds,
            jobs.c.dispatched_at.is_(None) | message_expired,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    if max_running is not None:
        query = query.where(quotas.within_running_limit(max_running))
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    return [(row.id, row.queue) for row in connection.execute(query)]


def mark_dispatched(connection: Connection, job_ids: Sequence[str]) -> None:
    """Record that a message was sent now; if it is lost, another one is sent later."""
    # A job can be claimed or finished before this runs, and only its owner writes it then.
    queued = jobs.c.id.in_(job_ids) & (jobs.c.state == "queued")
    connection.execute(update(jobs).where(queued).values(dispatched_at=database_now()))
