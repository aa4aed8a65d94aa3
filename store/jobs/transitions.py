"""Changes of a job's row: one conditional UPDATE and, in the same transaction, one event."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, update

from store import events
from store.database.tables import MAX_BACKOFF_SECONDS, database_now, jobs
from store.jobs.rows import Job

_WITHOUT_OWNER = {"step": None, "owner": None, "lease_expires_at": None}


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
            **_WITHOUT_OWNER,
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
    """Set the state to `queued`; a charged attempt counts as a failure and waits for a backoff.

    A job that is asked to pause is `paused` instead.
    """
    failures = jobs.c.failures + 1 if charged else jobs.c.failures
    asked = condition & jobs.c.pause_requested
    if job := pause(connection, job_id, asked, {"failures": failures}):
        return job
    # 1, 2, 4, ... in SQL that both databases have: failures stay below a small limit.
    backoffs = {n: min(backoff_seconds * 2**n, MAX_BACKOFF_SECONDS) for n in range(6)}
    doubling = case(backoffs, value=jobs.c.failures, else_=MAX_BACKOFF_SECONDS)
    return change(
        connection,
        job_id,
        condition,
        {
            "state": "queued",
            "failures": failures,
            "run_after": database_now() + doubling if charged else database_now(),
            "dispatched_at": None,
            **_WITHOUT_OWNER,
        },
        event="requeued",
        data={} if detail is None else {"detail": detail},
    )


def pause(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    values: dict[str, Any] | None = None,
    *,
    reason: str | None = None,
) -> Job | None:
    """Set the state to `paused`, which holds no worker.

    The reason is `sweep` for a trial and `user` for any other job, unless one is given.
    """
    by = case((jobs.c.trial.is_not(None), "sweep"), else_="user") if reason is None else reason
    paused = {"state": "paused", "state_reason": by, "pause_requested": False, **_WITHOUT_OWNER}
    return change(connection, job_id, condition, paused | (values or {}), event="paused")


def queue(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    values: dict[str, Any] | None = None,
    *,
    data: dict[str, Any] | None = None,
) -> Job | None:
    """Set the state of a paused job to `queued`."""
    queued = {
        "state": "queued",
        "state_reason": None,
        "failures": 0,
        "run_after": database_now(),
        "dispatched_at": None,
    }
    return change(connection, job_id, condition, queued | (values or {}), event="queued", data=data)


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
