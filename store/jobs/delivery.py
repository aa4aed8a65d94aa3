"""Which jobs are due, and which of them no message speaks of yet."""

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
    """Ids of jobs that are due, of one queue or of all, oldest first.

    Only of those that may run beside those of their tenant that do.
    """
    due = (jobs.c.state == "queued") & (jobs.c.run_after <= database_now())
    query = select(jobs.c.id).where(due).order_by(jobs.c.id).limit(limit)
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    if max_running is not None:
        query = query.where(quotas.next_to_run(max_running))
    return list(connection.execute(query).scalars())


def undelivered(
    connection: Connection,
    *,
    redispatch_seconds: float,
    limit: int,
    queue: str | None = None,
    due_for_seconds: float = 0,
    max_running: int | None = None,
) -> list[tuple[str, str]]:
    """(id, queue) of jobs, of one queue or of all, that are due, and have been for a while, with no
    message of late, oldest first.

    Only of those that may run beside those of their tenant that do.
    """
    forgotten = jobs.c.dispatched_at < database_now() - redispatch_seconds
    query = (
        select(jobs.c.id, jobs.c.queue)
        .where(
            jobs.c.state == "queued",
            jobs.c.run_after <= database_now() - due_for_seconds,
            jobs.c.dispatched_at.is_(None) | forgotten,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    if max_running is not None:
        query = query.where(quotas.next_to_run(max_running))
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    return [(row.id, row.queue) for row in connection.execute(query)]


def mark_dispatched(connection: Connection, job_ids: Sequence[str]) -> None:
    """Note that a message went out now; if it is lost, it will be sent again."""
    # A job may be claimed, or over, before this comes, and is nobody's but its owner's then.
    waiting = jobs.c.id.in_(job_ids) & (jobs.c.state == "queued")
    connection.execute(update(jobs).where(waiting).values(dispatched_at=database_now()))
