"""Changes of a job's row: one conditional UPDATE and, in the same transaction, one event."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select, update

from store import events
from store.database.tables import MAX_BACKOFF_SECONDS, database_now, jobs
from store.jobs.rows import TERMINAL, Job

_WITHOUT_OWNER = {"step": None, "owner": None, "lease_expires_at": None}


def end(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    state: str,
    reason: str,
    detail: str | None = None,
) -> Job | None:
    values, data = _ended(state, reason, detail)
    return change(connection, job_id, condition, values, event=state, data=data)


def end_cancelled(
    connection: Connection, job_id: str, condition: ColumnElement[bool]
) -> Job | None:
    """End a cancelling job for the reason that it was cancelled for."""
    query = select(jobs.c.state_reason).where(jobs.c.id == job_id, condition)
    reason = connection.execute(query.with_for_update()).scalar() or "cancelled_by_user"
    return end(connection, job_id, condition, "cancelled", reason)


def _ended(state: str, reason: str, detail: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of a job that has ended, and the data of its event."""
    # It may quote lone surrogates or NUL, which PostgreSQL cannot store.
    if detail is not None:
        detail = detail.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    values = {
        "state": state,
        "state_reason": reason,
        "detail": detail,
        "pause_requested": False,
        **_WITHOUT_OWNER,
        "finished_at": database_now(),
    }
    return values, {"reason": reason} | ({} if detail is None else {"detail": detail})


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
) -> Job | None:
    """Set the state to `paused`, which holds no worker: by its sweep, or else by the user."""
    by = case((jobs.c.trial.is_not(None), "sweep"), else_="user")
    return change(connection, job_id, condition, paused(by) | (values or {}), event="paused")


def paused(reason: Any) -> dict[str, Any]:
    """Return the values of a job that is paused."""
    return {"state": "paused", "state_reason": reason, "pause_requested": False, **_WITHOUT_OWNER}


def queue(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    values: dict[str, Any] | None = None,
    *,
    data: dict[str, Any] | None = None,
) -> Job | None:
    """Set the state of a paused job to `queued`."""
    return change(
        connection, job_id, condition, _queued() | (values or {}), event="queued", data=data
    )


def _queued() -> dict[str, Any]:
    return {
        "state": "queued",
        "state_reason": None,
        "failures": 0,
        "run_after": database_now(),
        "dispatched_at": None,
    }


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


def pause_all(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Pause the queued ones of the trials, and ask the running ones to pause."""
    _lock_all(connection, condition)
    values = {"state": "paused", "state_reason": "sweep", **_WITHOUT_OWNER}
    change_all(connection, condition & (jobs.c.state == "queued"), values, event="paused")
    running = condition & (jobs.c.state == "running")
    connection.execute(update(jobs).where(running).values(pause_requested=True))


def resume_all(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Queue the trials that their sweep has paused, and take back what has not paused yet."""
    _lock_all(connection, condition)
    by_sweep = (jobs.c.state == "paused") & (jobs.c.state_reason == "sweep")
    queue_all(connection, condition & by_sweep)
    running = condition & (jobs.c.state == "running")
    connection.execute(update(jobs).where(running).values(pause_requested=False))


def queue_all(
    connection: Connection,
    condition: ColumnElement[bool],
    values: dict[str, Any] | None = None,
    *,
    data: dict[str, Any] | None = None,
) -> None:
    """Do what `queue` does for many jobs."""
    change_all(connection, condition, _queued() | (values or {}), event="queued", data=data)


def stop_all(connection: Connection, condition: ColumnElement[bool], *, reason: str) -> None:
    """End the jobs that hold no worker as `cancelled`, and ask the running ones to stop."""
    _lock_all(connection, condition)
    waiting = condition & jobs.c.state.in_(("queued", "paused"))
    end_all(connection, waiting, "cancelled", reason)
    values = {"state": "cancelling", "state_reason": reason, "keep_model": False}
    change_all(connection, condition & (jobs.c.state == "running"), values, event="cancelling")


def _lock_all(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Lock the jobs, which could change their states between two updates."""
    unfinished = condition & jobs.c.state.not_in(TERMINAL)
    query = select(jobs.c.id).where(unfinished).order_by(jobs.c.id).with_for_update()
    connection.execute(query).all()


def end_all(
    connection: Connection,
    condition: ColumnElement[bool],
    state: str,
    reason: str,
    *,
    detail: str | None = None,
) -> None:
    """Do what `end` does for many jobs."""
    values, data = _ended(state, reason, detail)
    change_all(connection, condition, values, event=state, data=data)


def change_all(
    connection: Connection,
    condition: ColumnElement[bool],
    values: dict[str, Any],
    *,
    event: str,
    data: dict[str, Any] | None = None,
) -> list[Job]:
    """Do what `change` does, with its event, for all jobs for which the condition holds.

    They are locked and returned in the order of their ids.
    """
    query = select(jobs.c.id).where(condition).order_by(jobs.c.id).with_for_update()
    job_ids = list(connection.execute(query).scalars())
    if not job_ids:
        return []
    counted = values | {"num_events": jobs.c.num_events + 1}
    change = update(jobs).where(jobs.c.id.in_(job_ids)).values(**counted).returning(jobs)
    changed = [Job(**row) for row in connection.execute(change).mappings()]
    new = [
        {
            "job_id": job.id,
            "sequence": job.num_events,
            "type": event,
            "data": {"attempt": job.attempt, **(data or {})},
        }
        for job in changed
    ]
    events.append_all(connection, new)
    return sorted(changed, key=lambda job: job.id)
