"""Changes of a job's row: one conditional UPDATE and, in the same transaction, one event."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, update

from store import events
from store.database.tables import MAX_BACKOFF_SECONDS, database_now, jobs
from store.jobs.rows import Job


def end(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    state: str,
    reason: str,
    detail: str | None = None,
) -> Job | None:
    # It may quote lone surrogates or NUL, which PostgreSQL cannot store.
    if detail is not None:
        detail = detail.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return change(
        connection,
        job_id,
        condition,
        {
            "state": state,
            "state_reason": reason,
            "detail": detail,
            "step": None,
            "owner": None,
            "lease_expires_at": None,
            "finished_at": database_now(),
        },
        event=state,
        data={"reason": reason} | ({} if detail is None else {"detail": detail}),
    )


def requeue(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    *,
    charged: bool,
    detail: str | None = None,
    backoff_seconds: float = 0,
) -> Job | None:
    """Set the state to `queued`; a charged attempt counts as a failure and waits for a backoff."""
    # 1, 2, 4, ... in SQL that both databases have: failures stay below a small limit.
    backoffs = {n: min(backoff_seconds * 2**n, MAX_BACKOFF_SECONDS) for n in range(6)}
    doubling = case(backoffs, value=jobs.c.failures, else_=MAX_BACKOFF_SECONDS)
    return change(
        connection,
        job_id,
        condition,
        {
            "state": "queued",
            "failures": jobs.c.failures + 1 if charged else jobs.c.failures,
            "run_after": database_now() + doubling if charged else database_now(),
            "step": None,
            "owner": None,
            "lease_expires_at": None,
            "dispatched_at": None,
        },
        event="requeued",
        data={} if detail is None else {"detail": detail},
    )


def change(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    values: dict[str, Any],
    *,
    event: str | None = None,
    data: dict[str, Any] | None = None,
) -> Job | None:
    """Update the job and append its event if the condition holds; otherwise return None."""
    if event is not None:
        values = values | {"num_events": jobs.c.num_events + 1}
    query = update(jobs).where(jobs.c.id == job_id, condition).values(**values).returning(jobs)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    job = Job(**row)
    if event is not None:
        data = {"attempt": job.attempt, **(data or {})}
        events.append(connection, job_id, sequence=job.num_events, event_type=event, data=data)
    return job
