"""The rows of jobs: create, get, list and delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store import events
from store.database.tables import database_now, epochs, jobs, newest_first
from store.errors import IllegalTransition, JobNotFound
from store.ids import new_id
from store.job_spec import JobSpec

STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")
TERMINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """A row of the table; see store.database.tables for what the columns mean."""

    id: str
    tenant: str
    dataset_id: str
    spec: dict[str, Any]
    warnings: list[str]
    queue: str
    state: str
    state_reason: str | None
    detail: str | None
    attempt: int
    failures: int
    owner: str | None
    lease_expires_at: float | None
    run_after: float
    dispatched_at: float | None
    num_threads: int | None
    traceparent: str | None
    epochs_completed: int
    num_events: int
    created_at: float
    started_at: float | None
    finished_at: float | None


def create(
    connection: Connection,
    spec: JobSpec,
    *,
    tenant: str,
    queue: str,
    warnings: Sequence[str] = (),
    traceparent: str | None = None,
) -> Job:
    """Insert a job's row and its first event. The dispatcher, if there is one, sends its message.

    `warnings` tell the job's owner how the data was interpreted; `traceparent` is the span of the
    request.
    """
    now = database_now()
    row = connection.execute(
        insert(jobs)
        .values(
            id=new_id("job"),
            tenant=tenant,
            dataset_id=spec.dataset.id,
            spec=spec.model_dump(mode="json"),
            warnings=list(warnings),
            queue=queue,
            traceparent=traceparent,
            state="queued",
            attempt=0,
            failures=0,
            epochs_completed=0,
            num_events=1,
            run_after=now,
            created_at=now,
        )
        .returning(jobs)
    )
    job = Job(**row.mappings().one())
    events.append(connection, job.id, sequence=1, event_type="queued", data={})
    return job


def get(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Return the job. Raises JobNotFound, also for another tenant's job."""
    query = select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    return Job(**row)


def page(
    connection: Connection, *, tenant: str, limit: int, after: str | None, state: str | None = None
) -> list[Job]:
    """Return up to `limit` jobs older than `after`, newest first, in one state or in all."""
    query = newest_first(jobs, tenant=tenant, limit=limit, after=after)
    if state is not None:
        query = query.where(jobs.c.state == state)
    return [Job(**row) for row in connection.execute(query).mappings()]


def metrics(connection: Connection, job_id: str, *, after_epoch: int) -> list[dict[str, Any]]:
    """Return the epochs recorded after `after_epoch`, in order, without gaps."""
    query = (
        select(epochs)
        .where(epochs.c.job_id == job_id, epochs.c.epoch > after_epoch)
        .order_by(epochs.c.epoch)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Delete a finished job with its epochs and events; its model stays.

    Raises JobNotFound, and IllegalTransition while the job is unfinished.
    """
    theirs = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
    query = delete(jobs).where(theirs, jobs.c.state.in_(TERMINAL)).returning(jobs)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise IllegalTransition(job_id, get(connection, job_id, tenant=tenant).state, "deleted")
    return Job(**row)
