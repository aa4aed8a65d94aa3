"""The job's life: create, claim, renew, record, finish, cancel, reap.

The row owns the job. Whoever runs it holds a Claim, whose attempt number is the fencing token:
every write of a claim says `WHERE attempt = mine`, so one whose lease was lost changes nothing.
Each change of a job is one UPDATE of its row and, in the same transaction, one event.

    queued -> running -> succeeded | failed | cancelled
              running -> cancelling -> cancelled          terminal states never change
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, insert, select, update

from store import events, models
from store.access import quotas
from store.database.pages import newest_first
from store.database.tables import database_now, epochs, jobs
from store.errors import IllegalTransition, JobNotFound, LeaseLost
from store.ids import new_id
from store.job_spec import JobSpec
from store.models import TrainedModel

STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")
TERMINAL = ("succeeded", "failed", "cancelled")
MAX_BACKOFF_SECONDS = 60


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


@dataclass(frozen=True)
class Claim:
    """The right to write one attempt of one job."""

    job_id: str
    attempt: int


def create(
    connection: Connection,
    spec: JobSpec,
    *,
    tenant: str,
    queue: str,
    warnings: Sequence[str] = (),
    traceparent: str | None = None,
) -> Job:
    """Accept a job: its row and its first event. The broker hears of it later, or never.

    `warnings` are what its owner should know of what was made of the data; `traceparent` is the
    trace that asked for it.
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
    """Raises JobNotFound, also for another tenant's."""
    query = select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    return Job(**row)


def page(
    connection: Connection, *, tenant: str, limit: int, after: str | None, state: str | None = None
) -> list[Job]:
    """Up to `limit` jobs older than `after`, newest first, of one state or of all."""
    query = newest_first(jobs, tenant=tenant, limit=limit, after=after)
    if state is not None:
        query = query.where(jobs.c.state == state)
    return [Job(**row) for row in connection.execute(query).mappings()]


def metrics(connection: Connection, job_id: str, *, after_epoch: int) -> list[dict[str, Any]]:
    """The epochs recorded after one, in order, without gaps."""
    query = (
        select(epochs)
        .where(epochs.c.job_id == job_id, epochs.c.epoch > after_epoch)
        .order_by(epochs.c.epoch)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


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


def claim(
    connection: Connection,
    job_id: str,
    *,
    owner: str,
    lease_seconds: float,
    num_threads: int,
    max_attempts: int,
    max_running: int | None = None,
) -> Job | None:
    """Take the job if it is due, or running with an expired lease and attempts left; else None.

    `num_threads` holds for the first attempt; later ones keep to what the first has recorded. No
    more than `max_running` jobs of a tenant run at a time.
    """
    if max_running and not quotas.may_run(connection, job_id, max_running=max_running):
        return None
    now = database_now()
    due = (jobs.c.state == "queued") & (jobs.c.run_after <= now)
    lost = _lease_expired("running") & (jobs.c.failures + 1 < max_attempts)
    return _change(
        connection,
        job_id,
        due | lost,
        {
            "state": "running",
            "attempt": jobs.c.attempt + 1,
            "failures": case((lost, jobs.c.failures + 1), else_=jobs.c.failures),
            "owner": owner,
            "lease_expires_at": now + lease_seconds,
            "num_threads": _first(jobs.c.num_threads, num_threads),
            "started_at": _first(jobs.c.started_at, now),
        },
        event="running",
    )


def renew(connection: Connection, claim: Claim, *, lease_seconds: float) -> Job:
    """Extend the lease and see, in the answer's state, whether to cancel. Raises LeaseLost."""
    job = _change(
        connection,
        claim.job_id,
        _owned(claim, "running", "cancelling"),
        {"lease_expires_at": database_now() + lease_seconds},
    )
    if job is None:
        raise LeaseLost(claim.job_id, claim.attempt)
    return job


def record(connection: Connection, claim: Claim, epoch_metrics: dict[str, Any]) -> None:
    """Store the next epoch; one that is stored already, or that comes after a cancel, is left out.

    Raises LeaseLost.
    """
    epoch = epoch_metrics["epoch"]
    is_next = jobs.c.epochs_completed == epoch - 1
    job = _change(
        connection,
        claim.job_id,
        _owned(claim, "running") & is_next,
        {"epochs_completed": epoch, "failures": 0},
        event="epoch",
        data=epoch_metrics,
    )
    if job is None:
        _require_owner(connection, claim)
        return
    connection.execute(
        insert(epochs).values(job_id=claim.job_id, recorded_at=database_now(), **epoch_metrics)
    )


def progressed(connection: Connection, claim: Claim) -> None:
    """Forgive earlier failures for work that is kept, as a new epoch does. Raises LeaseLost."""
    if _change(connection, claim.job_id, _owned(claim, "running"), {"failures": 0}) is None:
        _require_owner(connection, claim)


def succeed(connection: Connection, claim: Claim, *, reason: str, trained: TrainedModel) -> Job:
    """End the job with its model; one that was asked to stop ends cancelled, without.

    Raises LeaseLost.
    """
    job = _finish(connection, claim, ("running",), "succeeded", reason)
    if job is None:
        return cancelled(connection, claim)
    models.create(connection, trained, tenant=job.tenant, job_id=job.id, name=job.spec["name"])
    return job


def fail(connection: Connection, claim: Claim, *, reason: str, detail: str) -> Job:
    """End the job without a model; one that was asked to stop ends cancelled. Raises LeaseLost."""
    job = _finish(connection, claim, ("running",), "failed", reason, detail)
    return job or cancelled(connection, claim)


def cancelled(connection: Connection, claim: Claim) -> Job:
    """End a job that was asked to stop. Raises LeaseLost."""
    job = _finish(connection, claim, ("cancelling",), "cancelled", "cancelled_by_user")
    if job is None:
        raise LeaseLost(claim.job_id, claim.attempt)
    return job


def release(connection: Connection, claim: Claim) -> Job:
    """Hand the job back in good order, uncharged: another worker goes on from its checkpoint.

    Raises LeaseLost.
    """
    job = _requeue(connection, claim.job_id, _owned(claim, "running"), charged=False)
    return job or cancelled(connection, claim)


def retry(
    connection: Connection,
    claim: Claim,
    *,
    reason: str,
    detail: str,
    max_attempts: int,
    backoff_seconds: float,
) -> Job:
    """Put a job whose trainer died back in the queue, or end it at the cap. Raises LeaseLost."""
    owned = _owned(claim, "running")
    job = _requeue(
        connection,
        claim.job_id,
        owned & (jobs.c.failures + 1 < max_attempts),
        charged=True,
        detail=detail,
        backoff_seconds=backoff_seconds,
    )
    return job or fail(connection, claim, reason=reason, detail=detail)


def cancel(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Ask the job to stop; asking again changes nothing.

    Raises JobNotFound, and IllegalTransition if the job has ended otherwise.
    """
    # Locked, or it could move from one state to the other between the two updates.
    theirs = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
    connection.execute(select(jobs.c.id).where(theirs).with_for_update())
    queued = theirs & (jobs.c.state == "queued")
    job = _end(connection, job_id, queued, "cancelled", "cancelled_by_user") or _change(
        connection,
        job_id,
        theirs & (jobs.c.state == "running"),
        {"state": "cancelling"},
        event="cancelling",
    )
    if job is None:
        job = get(connection, job_id, tenant=tenant)
        if job.state not in ("cancelling", "cancelled"):
            raise IllegalTransition(job_id, job.state, "cancelled")
    return job


def reap(connection: Connection, *, max_attempts: int, backoff_seconds: float) -> list[Job]:
    """Take back every job whose lease has expired: requeue it, or end it at the cap."""
    expired = _lease_expired("running", "cancelling")
    reaped = []
    # Locked in one order, and none that another transaction is about to change.
    query = select(jobs.c.id).where(expired).order_by(jobs.c.id).with_for_update(skip_locked=True)
    for job_id in connection.execute(query).scalars().all():
        running = _lease_expired("running")
        job = (
            _end(connection, job_id, _lease_expired("cancelling"), "cancelled", "cancelled_by_user")
            or _requeue(
                connection,
                job_id,
                running & (jobs.c.failures + 1 < max_attempts),
                charged=True,
                detail="the worker was lost",
                backoff_seconds=backoff_seconds,
            )
            or _end(
                connection,
                job_id,
                running,
                "failed",
                "worker_lost",
                f"the worker was lost {max_attempts} times in a row without progress",
            )
        )
        if job is not None:
            reaped.append(job)
    return reaped


def expire_leases(connection: Connection, *, owner: str) -> None:
    """End the leases of an owner that is known to be gone."""
    owned = (jobs.c.owner == owner) & jobs.c.state.in_(("running", "cancelling"))
    connection.execute(update(jobs).where(owned).values(lease_expires_at=0))


def remove(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Delete a job that is over, with its epochs and events; its model stays.

    Raises JobNotFound, and IllegalTransition while it is not over.
    """
    theirs = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
    query = delete(jobs).where(theirs, jobs.c.state.in_(TERMINAL)).returning(jobs)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise IllegalTransition(job_id, get(connection, job_id, tenant=tenant).state, "deleted")
    return Job(**row)


def _owned(claim: Claim, *states: str) -> ColumnElement[bool]:
    return (jobs.c.attempt == claim.attempt) & jobs.c.state.in_(states)


def _lease_expired(*states: str) -> ColumnElement[bool]:
    return jobs.c.state.in_(states) & (jobs.c.lease_expires_at < database_now())


def _first(column: ColumnElement[Any], value: Any) -> ColumnElement[Any]:
    """What the column holds already, or else the value."""
    return case((column.is_(None), value), else_=column)


def _require_owner(connection: Connection, claim: Claim) -> None:
    owned = (jobs.c.id == claim.job_id) & _owned(claim, "running", "cancelling")
    if connection.execute(select(jobs.c.id).where(owned)).scalar() is None:
        raise LeaseLost(claim.job_id, claim.attempt)


def _finish(
    connection: Connection,
    claim: Claim,
    states: tuple[str, ...],
    state: str,
    reason: str,
    detail: str | None = None,
) -> Job | None:
    return _end(connection, claim.job_id, _owned(claim, *states), state, reason, detail)


def _end(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    state: str,
    reason: str,
    detail: str | None = None,
) -> Job | None:
    if detail is not None:  # it may quote anything, and PostgreSQL takes neither of these as text
        detail = detail.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return _change(
        connection,
        job_id,
        condition,
        {
            "state": state,
            "state_reason": reason,
            "detail": detail,
            "owner": None,
            "lease_expires_at": None,
            "finished_at": database_now(),
        },
        event=state,
        data={"reason": reason} | ({} if detail is None else {"detail": detail}),
    )


def _requeue(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    *,
    charged: bool,
    detail: str | None = None,
    backoff_seconds: float = 0,
) -> Job | None:
    """Back to `queued`; a charged attempt counts as lost and waits, longer each time."""
    # 1, 2, 4, ... in SQL that both databases have: failures stay below a small cap.
    doubling = case(
        *(
            (jobs.c.failures == n, min(backoff_seconds * 2**n, MAX_BACKOFF_SECONDS))
            for n in range(6)
        ),
        else_=MAX_BACKOFF_SECONDS,
    )
    return _change(
        connection,
        job_id,
        condition,
        {
            "state": "queued",
            "failures": jobs.c.failures + 1 if charged else jobs.c.failures,
            "run_after": database_now() + doubling if charged else database_now(),
            "owner": None,
            "lease_expires_at": None,
            "dispatched_at": None,
        },
        event="requeued",
        data={} if detail is None else {"detail": detail},
    )


def _change(
    connection: Connection,
    job_id: str,
    condition: ColumnElement[bool],
    values: dict[str, Any],
    *,
    event: str | None = None,
    data: dict[str, Any] | None = None,
) -> Job | None:
    """Update the job if the condition holds, with its event; None if it does not."""
    if event is not None:
        values = values | {"num_events": jobs.c.num_events + 1}
    query = update(jobs).where(jobs.c.id == job_id, condition).values(**values).returning(jobs)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    job = Job(**row)
    if event is not None:
        facts = {"attempt": job.attempt, **(data or {})}
        events.append(connection, job_id, sequence=job.num_events, event_type=event, data=facts)
    return job
